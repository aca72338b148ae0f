"""What a server does periodically, and on which store."""

import pytest

from mlflow.exceptions import MlflowException
from mlflow.server.jobs.periodic_store import initialize_periodic_tasks_tracking_store
from mlflow.server.jobs.server_tasks import server_tasks


@pytest.fixture
def tasks(job_store):
    return {task.name: task for task in server_tasks(job_store, 3600.0, lambda term: None)}


def test_rollups_are_no_task_while_they_are_off(tasks):
    assert set(tasks) == {"online-scoring", "trace-archival", "issue-detection", "job-retention"}


@pytest.mark.parametrize(
    ("name", "minutes"), [("online-scoring", 1), ("trace-archival", 1), ("issue-detection", 15)]
)
def test_tasks_are_due_at_aligned_instants(tasks, name, minutes):
    interval_ms = minutes * 60_000
    assert tasks[name].schedule.latest_ms(10 * interval_ms + 5) == 10 * interval_ms


def test_retention_deletes_what_is_past_its_time(job_store, claim_one, tasks, term):
    job = claim_one()
    job_store.succeed(job.claim, "1")
    tasks["job-retention"].run(term)
    assert len([*job_store.list_jobs()]) == 1
    job_store.clock_offset_ms += 3_601_000
    tasks["job-retention"].run(term)
    assert [*job_store.list_jobs()] == []


def test_the_periodic_store_is_the_backend_store_and_never_the_server(
    database_uri, monkeypatch, tmp_path
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:1")
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", database_uri)
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", str(tmp_path))
    assert initialize_periodic_tasks_tracking_store().db_uri == database_uri


def test_without_a_backend_store_periodic_tasks_say_what_is_missing(monkeypatch):
    monkeypatch.delenv("MLFLOW_BACKEND_STORE_URI", raising=False)
    with pytest.raises(MlflowException, match="MLFLOW_BACKEND_STORE_URI"):
        initialize_periodic_tasks_tracking_store()
