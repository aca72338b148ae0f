"""Databases made by earlier releases are upgraded by `mlflow db upgrade`, and jobs run on them."""

import json

import pytest

from tests.adoption.servers import fork_server, released, run_python

pytestmark = pytest.mark.servers

# Written against the job store as 3.16.1 and 3.17.2 have it.
_FILL = """
import json, mlflow
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore

mlflow.set_tracking_uri("sqlite:///mlflow.db")
experiment = mlflow.set_experiment("kept").experiment_id
with mlflow.start_run() as run:
    mlflow.log_param("kept", "yes")
store = SqlAlchemyJobStore("sqlite:///mlflow.db")
params = json.dumps({"left": 1, "right": 2})
done = store.create_job("adoption_add", params)
store.start_job(done.job_id)
store.finish_job(done.job_id, "3")
waiting = store.create_job("adoption_add", params)
print(json.dumps({"run": run.info.run_id, "done": done.job_id, "waiting": waiting.job_id}))
"""


@pytest.fixture(scope="module", params=["3.16.1", "3.17.2"])
def upgraded(request, tmp_path_factory):
    """A server of the fork on a database of an earlier release, and the ids that it holds."""
    directory = tmp_path_factory.mktemp(f"from-{request.param}")
    filled = run_python(directory, "-c", _FILL, env=released(request.param))
    ids = json.loads(filled.splitlines()[-1])
    run_python(directory, "-m", "mlflow", "db", "upgrade", "sqlite:///mlflow.db")
    with fork_server(directory) as server:
        yield server, ids, request.param


def test_runs_and_finished_jobs_survive_the_upgrade(upgraded):
    server, ids, _ = upgraded
    status, run = server.request("GET", f"/api/2.0/mlflow/runs/get?run_id={ids['run']}")
    assert status == 200
    assert run["run"]["data"]["params"] == [{"key": "kept", "value": "yes"}]
    _, job = server.request("GET", f"/ajax-api/3.0/jobs/{ids['done']}")
    assert (job["status"], job["result"]) == ("SUCCEEDED", 3)


def test_waiting_jobs_are_canceled_where_3_17_would_and_run_otherwise(upgraded):
    server, ids, version = upgraded
    job = server.wait_for_job(ids["waiting"])
    expected = {"3.16.1": ("CANCELED", None), "3.17.2": ("SUCCEEDED", 3)}[version]
    assert (job["status"], job["result"]) == expected


def test_a_job_runs_on_the_upgraded_database(upgraded):
    server, _, _ = upgraded
    job = server.wait_for_job(server.submit_job("adoption_add", {"left": 20, "right": 22}))
    assert (job["status"], job["result"]) == ("SUCCEEDED", 42)
