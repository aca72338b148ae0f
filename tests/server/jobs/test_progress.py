"""A job function can say how far it is; nobody else can say it for the job, and no report fails."""

import pytest

from mlflow.entities._job import JobProgress
from mlflow.entities._job_status import JobStatus
from mlflow.server import handlers
from mlflow.server.jobs import _job_subproc_entry, progress
from mlflow.server.jobs.progress import (
    JobTracker,
    _set_job_tracker,
    update_job_progress,
    update_status_details,
)
from mlflow.store.jobs.errors import JobStoreUnavailable


@pytest.fixture(autouse=True)
def job_process(job_store, monkeypatch):
    """The process of a job, whose store is the test's."""
    monkeypatch.setattr(handlers, "_job_store", job_store)
    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", job_store.db_uri)
    yield
    _set_job_tracker(None)


def test_reports_of_the_owner_are_stored(job_store, claim_one):
    job = claim_one()
    _set_job_tracker(JobTracker(job.claim.job_id, job.claim.fence))

    update_status_details({"stage": "reading"})
    update_status_details({"found": 3})
    update_job_progress("halfway", JobProgress("scoring", 5, 10, "traces"))
    update_job_progress("almost there")

    row = job_store.get_job(job.claim.job_id)
    assert row.status_details == {"stage": "reading", "found": 3}
    assert row.status_message == "almost there"
    assert row.progress == JobProgress("scoring", 5, 10, "traces")


def test_a_lost_claim_reports_nothing(job_store, claim_one, make_pending):
    job = claim_one()
    _set_job_tracker(JobTracker(job.claim.job_id, job.claim.fence - 1))

    update_status_details({"stage": "late"})
    update_job_progress("late")

    row = job_store.get_job(job.claim.job_id)
    assert row.status is JobStatus.RUNNING
    assert row.status_details is None
    assert row.status_message is None


def test_a_report_after_the_end_changes_nothing_and_fails_nothing(job_store, claim_one):
    job = claim_one()
    _set_job_tracker(JobTracker(job.claim.job_id, job.claim.fence))
    job_store.cancel_job(job.claim.job_id)

    update_status_details({"stage": "late"})
    update_job_progress("late")

    row = job_store.get_job(job.claim.job_id)
    assert row.status_details is None
    assert row.status_message is None


def test_a_report_on_a_deleted_job_fails_nothing():
    _set_job_tracker(JobTracker("no-such-job", 1))
    update_status_details({"stage": "late"})
    update_job_progress("late")


def test_a_database_that_is_away_fails_no_job(monkeypatch, claim_one):
    class AwayStore:
        def update_status_details(self, job_id, status_details, fence=None):
            raise JobStoreUnavailable("away")

    warnings = []
    monkeypatch.setattr(handlers, "_job_store", AwayStore())
    monkeypatch.setattr(progress._logger, "warning", lambda *words: warnings.append(words))
    _set_job_tracker(JobTracker("j1", 1))

    update_status_details({"stage": "secret"})

    assert len(warnings) == 1
    assert "secret" not in str(warnings)


def test_outside_a_job_a_report_does_nothing(job_store, claim_one):
    job = claim_one()
    update_status_details({"stage": "nobody's"})
    update_job_progress("nobody's", JobProgress("phase", 1, 2))
    assert job_store.get_job(job.claim.job_id).status_details is None


def test_a_store_of_3_18_knows_no_fence_and_is_not_given_one(monkeypatch):
    calls = []

    class Store318:
        def update_status_details(self, job_id, status_details):
            calls.append((job_id, status_details))

    monkeypatch.setattr(handlers, "_job_store", Store318())
    _set_job_tracker(JobTracker("j1"))
    update_status_details({"stage": 1})
    assert calls == [("j1", {"stage": 1})]


@pytest.mark.parametrize(
    ("job_id", "fence", "guard"), [("j1", "7", {"fence": 7}), ("j1", None, {}), (None, None, None)]
)
def test_a_job_process_reports_under_the_fence_it_was_given(monkeypatch, job_id, fence, guard):
    for name, value in {"_MLFLOW_SERVER_JOB_ID": job_id, "_MLFLOW_SERVER_JOB_FENCE": fence}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    tracker = _job_subproc_entry._tracker()
    assert (tracker and tracker._guard) == guard
