"""A canceled or taken row reaches the backend that runs its job."""

import pytest

from mlflow.server.jobs.cancellation import Cancellation
from mlflow.server.jobs.owned_jobs import End, OwnedJob, OwnedJobs
from mlflow.server.jobs.pace import Pace
from tests.server.jobs.fakes import pass_lease, take_over


@pytest.fixture
def owned(clock):
    return OwnedJobs(clock)


@pytest.fixture
def cancellation(job_store, owned):
    return Cancellation(job_store, owned, Pace(None))


@pytest.fixture
def own(owned, executor):
    def own(job) -> OwnedJob:
        owned.add(OwnedJob(job.claim, job.job_name, executor, trust_until=0.0))
        return owned.get(job.claim)

    return own


def test_a_canceled_job_is_stopped_and_the_others_go_on(
    job_store, claim_one, own, cancellation, executor
):
    canceled, running = own(claim_one("sample")), own(claim_one("other"))
    job_store.cancel_job(canceled.claim.job_id)
    cancellation.beat()
    assert executor.canceled == [canceled.claim.job_id]
    assert (canceled.end, running.end) == (End.CANCELED, None)


def test_a_job_that_was_taken_over_is_stopped_as_lost(
    job_store, claim_one, own, cancellation, executor, term
):
    job = own(claim_one())
    take_over(job_store, job.claim, term)
    cancellation.beat()
    assert executor.canceled == [job.claim.job_id]
    assert job.end is End.LOST


def test_a_job_whose_row_was_deleted_is_stopped_as_lost(job_store, claim_one, own, cancellation):
    job = own(claim_one())
    job_store.cancel_job(job.claim.job_id)
    pass_lease(job_store)
    assert job_store.delete_jobs(job_ids=[job.claim.job_id])
    cancellation.beat()
    assert job.end is End.LOST


def test_a_job_whose_end_is_being_written_is_left_alone(
    job_store, claim_one, own, cancellation, executor
):
    job = own(claim_one())
    job.recording = True
    job_store.succeed(job.claim, "1")
    cancellation.beat()
    assert job.end is None
    assert executor.canceled == []


def test_a_stopped_job_is_stopped_once(job_store, claim_one, own, cancellation, executor):
    job = own(claim_one())
    job_store.cancel_job(job.claim.job_id)
    cancellation.beat()
    cancellation.beat()
    assert executor.canceled == [job.claim.job_id]


def test_without_running_jobs_no_statement_is_sent(job_store, cancellation, monkeypatch):
    def refuse(_):
        raise AssertionError("a statement was sent")

    monkeypatch.setattr(job_store, "not_running", refuse)
    assert cancellation.beat() < 1.0


def test_while_jobs_run_their_cancellation_is_found_within_a_second(claim_one, own, cancellation):
    own(claim_one())
    assert cancellation.beat() < 1.0


def test_looks_are_rare_where_wake_ups_come_from_everybody(job_store, claim_one, own, owned):
    own(claim_one())
    assert Cancellation(job_store, owned, Pace(None, lambda: True)).beat() >= 20
