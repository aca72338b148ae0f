"""What a server leaves to the others of its database: to run jobs, or to lead."""

import json
import sqlite3
import sys
from contextlib import closing

import pytest

from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from tests.adoption import servers
from tests.adoption.servers import fork_server
from tests.tracking_databases import copy_of

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"),
]

_PATIENCE_SECONDS = 300.0
_JOBS = "/ajax-api/3.0/jobs"


def wait_for(condition, what):
    servers.wait_for(condition, what, _PATIENCE_SECONDS)


@pytest.fixture
def serve(empty_database, tmp_path):
    """Start a server on the database of all."""
    uri = copy_of(empty_database, tmp_path)

    def serve(name: str, **env: str):
        options = ("--workers", "1", "--backend-store-uri", uri)
        return fork_server(tmp_path / name, env, args=options)

    return serve


def _has_runner(server) -> bool:
    return any("mlflow.server.jobs.runner" in command for command in server.processes().values())


def test_an_api_only_server_starts_no_runner_and_serves_the_jobs_of_others(serve, tmp_path):
    with serve("api", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false") as server:
        store = SqlAlchemyJobStore(f"sqlite:///{tmp_path}/mlflow.db")
        waits = store.create_job("adoption_add", json.dumps({"left": 1, "right": 1})).job_id
        params = {"job_name": "adoption_add", "params": {"left": 1, "right": 1}}
        status, answer = server.request("POST", f"{_JOBS}/", params)
        assert (status, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION" in str(answer)) == (500, True)
        assert server.request("GET", f"{_JOBS}/{waits}")[1]["status"] == "PENDING"
        assert not _has_runner(server)
        assert server.request("PATCH", f"{_JOBS}/cancel/{waits}")[1]["status"] == "CANCELED"
        assert server.terminate(_PATIENCE_SECONDS) == 0, server.tail()
        assert server.processes() == {}
        store.engine.dispose()


@pytest.mark.long
@pytest.mark.parametrize(
    "switch",
    [
        {"MLFLOW_DISABLE_SCHEDULER": "true"},
        {"MLFLOW_SERVER_JOB_ENABLE_PERIODIC_TASKS": "false"},
    ],
)
def test_a_job_of_a_server_that_never_leads_is_canceled_through_one_that_runs_none(
    serve, tmp_path, switch
):
    running = serve("running", **switch, MLFLOW_SERVER_JOB_FORK_SERVER="false")
    api_only = serve("api", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    with running, api_only:
        job = running.submit_job("adoption_wander", {"folder": str(tmp_path)})
        wait_for((tmp_path / "pids").exists, "the job")
        at_work = {int(pid) for pid in (tmp_path / "pids").read_text().split()}
        assert "scheduler off" in running.log()
        assert api_only.request("GET", f"{_JOBS}/{job}")[1]["status"] == "RUNNING"
        assert api_only.request("PATCH", f"{_JOBS}/cancel/{job}")[0] == 200
        wait_for(lambda: not at_work & running.processes().keys(), "the end of the canceled job")
        for server in (api_only, running):
            assert server.terminate(_PATIENCE_SECONDS) == 0, server.tail()
            assert server.processes() == {}
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        # Its owner has confirmed.
        rows = database.execute("SELECT status, lease_expires_at FROM jobs").fetchall()
        assert rows == [(5, None)]
        assert database.execute("SELECT holder FROM scheduler_leases").fetchall() == []
