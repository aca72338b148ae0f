"""What runs beside the web workers, how it ends, and which old settings it accepts."""

import sqlite3
from contextlib import closing

import pytest

from tests.adoption.servers import fork_server, wait_for

pytestmark = pytest.mark.servers


def _job_processes(server):
    return [
        command
        for command in server.processes().values()
        if any("mlflow.server.jobs" in word for word in command)
    ]


def test_an_artifacts_only_server_starts_no_runner(tmp_path):
    options = ("--artifacts-only", "--artifacts-destination", str(tmp_path / "artifacts"))
    with fork_server(tmp_path, args=(*options, "--workers", "1")) as server:
        assert _job_processes(server) == []
        assert "mlflow.db" not in {path.name for path in tmp_path.iterdir()}


def test_an_idle_server_has_a_runner_with_a_warm_parent_of_jobs_and_leaves_no_process(tmp_path):
    started, released = tmp_path / "started", tmp_path / "released"
    with fork_server(tmp_path, args=("--workers", "2")) as server:
        job = server.submit_job("adoption_add", {"left": 1, "right": 1})
        assert server.wait_for_job(job)["status"] == "SUCCEEDED"
        idle = server.processes()
        assert _kinds(idle) == {
            "mlflow server": 1,
            "web": 4,
            "runner": 1,
            "fork server": 1,
            "watchdog": 1,
        }

        draining = server.submit_job(
            "adoption_hold", {"started": str(started), "released": str(released)}
        )
        wait_for(started.exists, "the start of the held job")
        assert len(server.processes()) == len(idle) + 1
        released.touch()
        assert server.terminate() == 0
        assert server.processes() == {}

    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        (result,) = database.execute("SELECT result FROM jobs WHERE id = ?", [draining]).fetchone()
    assert result == '"released"'


def _kinds(processes):
    """Counts by kind; anything unknown is a kind of its own. The web server is a supervisor, its
    resource tracker and two workers."""
    kinds = {}
    for command in processes.values():
        line = " ".join(command)
        if "mlflow.server.jobs.runner" in line:
            kind = "runner"
        elif "fork_server.py" in line:
            kind = "fork server"
        elif "watchdog.py" in line:
            kind = "watchdog"
        elif "uvicorn" in line or "multiprocessing" in line:
            kind = "web"
        elif command[1:4] == ["-m", "mlflow", "server"]:
            kind = "mlflow server"
        else:
            kind = line
        kinds[kind] = kinds.get(kind, 0) + 1
    return kinds


@pytest.mark.parametrize("engine", ["huey", "executor"])
def test_old_settings_are_accepted_and_each_says_once_that_it_does_nothing(tmp_path, engine):
    old = {
        "MLFLOW_SERVER_JOB_EXECUTION_ENGINE": engine,
        "MLFLOW_SERVER_JOB_HUEY_REDIS_URL": "redis://127.0.0.1:1/0",
        "MLFLOW_SERVER_JOB_FLUSH_PERIODIC_LOCKS_ON_STARTUP": "true",
    }
    with fork_server(tmp_path, old) as server:
        job = server.submit_job("adoption_add", {"left": 1, "right": 1})
        assert server.wait_for_job(job)["status"] == "SUCCEEDED"
        log = server.log()
    assert {name: log.count(name) for name in old} == dict.fromkeys(old, 1)
