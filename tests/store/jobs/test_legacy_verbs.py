"""MLflow 3.18's method names keep the behaviour that code written for them relies on."""

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.exceptions import MlflowException
from mlflow.store.jobs.abstract_store import JobTerminalStateUpdateException, JobUpdateStatus
from mlflow.store.jobs.errors import InvalidJobTransition, JobNotFound
from tests.store.jobs.store_factories import (
    change_raw,
    claim_one,
    create,
    lead,
    locks_of,
    row_of,
    status_of,
)

APPLIED, WRONG_STATE = JobUpdateStatus.APPLIED, JobUpdateStatus.WRONG_STATE

ENDINGS = [
    (lambda store, id_: store.finish_job(id_, "1"), JobStatus.SUCCEEDED, "1"),
    (lambda store, id_: store.fail_job(id_, "broken"), JobStatus.FAILED, "broken"),
    (lambda store, id_: store.mark_job_timed_out(id_), JobStatus.TIMEOUT, None),
]


def new(store, status=JobStatus.PENDING):
    job_id = create(store).job_id
    if status is not JobStatus.PENDING:
        store.claim_job(job_id, 60)
    if status is JobStatus.NEEDS_RECOVERY:
        store.mark_job_needs_recovery(job_id)
    return job_id


def test_claim_leases_and_start_does_not(store):
    claimed, started = new(store), new(store)

    assert store.claim_job(claimed, 60) is APPLIED
    store.start_job(started)

    row = row_of(store, claimed)
    assert row.lease_expires_at == row.last_update_time + 60_000
    assert row_of(store, started).lease_expires_at is None
    assert (row.fence, row_of(store, started).fence) == (1, 1)
    assert store.claim_job(claimed) is WRONG_STATE
    with pytest.raises(InvalidJobTransition, match="start"):
        store.start_job(started)


def test_a_job_that_is_not_due_is_not_claimed(store, clock):
    job_id = new(store)
    change_raw(store, job_id, next_attempt_at=store.now_ms() + 5_000)

    assert store.claim_job(job_id) is WRONG_STATE
    clock.advance(seconds=6)
    assert store.claim_job(job_id) is APPLIED


@pytest.mark.parametrize("lease", [0, -1, float("inf"), float("nan")])
def test_a_lease_that_is_no_duration_is_refused(store, lease):
    job_id = new(store)
    for verb in (store.claim_job, store.renew_job_lease, store.reattach_job):
        with pytest.raises(MlflowException, match="lease_duration"):
            verb(job_id, lease)


def test_renewal_needs_a_running_job_and_a_duration(store):
    job_id = new(store)
    assert store.renew_job_lease(job_id, 60) is WRONG_STATE
    store.start_job(job_id)

    assert store.renew_job_lease(job_id, 60) is APPLIED
    assert row_of(store, job_id).lease_expires_at is not None
    with pytest.raises(MlflowException, match="lease_duration"):
        store.renew_job_lease(job_id, None)


@pytest.mark.parametrize(("end", "status", "payload"), ENDINGS)
@pytest.mark.parametrize("state", [JobStatus.PENDING, JobStatus.RUNNING, JobStatus.NEEDS_RECOVERY])
def test_an_unfinished_job_is_ended(store, state, end, status, payload):
    job_id = new(store, state)

    end(store, job_id)

    job = store.get_job(job_id)
    assert (job.status, job.result) == (status, payload)
    assert row_of(store, job_id).lease_expires_at is None
    with pytest.raises(JobTerminalStateUpdateException, match=job_id):
        end(store, job_id)


def test_recovery_goes_from_running_to_recovery_and_back(store):
    job_id = new(store)
    assert store.mark_job_needs_recovery(job_id) is WRONG_STATE
    store.claim_job(job_id, 60)

    assert store.mark_job_needs_recovery(job_id) is APPLIED
    assert row_of(store, job_id).lease_expires_at is None
    assert store.reattach_job(job_id, 60) is APPLIED
    assert row_of(store, job_id).fence == 2
    assert store.reattach_job(job_id) is WRONG_STATE
    assert store.requeue_job(job_id) is WRONG_STATE
    store.mark_job_needs_recovery(job_id)
    assert store.requeue_job(job_id) is APPLIED
    assert status_of(store, job_id) is JobStatus.PENDING


def test_a_reattached_job_keeps_its_lock(store):
    claimed = claim_one(store, lock_key="key").claim
    store.mark_job_needs_recovery(claimed.job_id)

    store.reattach_job(claimed.job_id, 60)

    assert locks_of(store) == {"key": (claimed.job_id, 2)}
    store.finish_job(claimed.job_id, None)
    assert locks_of(store) == {}


def test_reset_takes_any_unfinished_job_back(store):
    for state in (JobStatus.PENDING, JobStatus.RUNNING, JobStatus.NEEDS_RECOVERY):
        job_id = new(store, state)
        store.reset_job(job_id)
        assert status_of(store, job_id) is JobStatus.PENDING
    store.cancel_job(job_id)
    with pytest.raises(JobTerminalStateUpdateException):
        store.reset_job(job_id)


def test_retry_counts_and_only_a_running_job_is_retried(store):
    job_id = new(store, JobStatus.RUNNING)

    assert store.retry_job(job_id) == 1
    assert row_of(store, job_id).next_attempt_at is None
    with pytest.raises(InvalidJobTransition, match="retry"):
        store.retry_job(job_id)


def test_retry_or_fail_waits_longer_each_time_and_then_fails(store, clock, monkeypatch):
    monkeypatch.setenv("MLFLOW_SERVER_JOB_TRANSIENT_ERROR_MAX_RETRIES", "2")
    monkeypatch.setenv("MLFLOW_SERVER_JOB_TRANSIENT_ERROR_RETRY_BASE_DELAY", "10")
    monkeypatch.setenv("MLFLOW_SERVER_JOB_TRANSIENT_ERROR_RETRY_MAX_DELAY", "15")
    job_id = new(store)
    for count, delay in ((1, 10), (2, 15)):
        store.start_job(job_id)
        assert store.retry_or_fail_job(job_id, "flaky") == count
        row = row_of(store, job_id)
        assert (row.retry_count, row.next_attempt_at) == (
            count,
            row.last_update_time + delay * 1000,
        )
        clock.advance(seconds=delay + 1)
    store.start_job(job_id)

    assert store.retry_or_fail_job(job_id, "flaky") is None
    assert store.get_job(job_id).error_message == "flaky"
    with pytest.raises(JobTerminalStateUpdateException):
        store.retry_or_fail_job(job_id, "flaky")


def test_report_ends_an_owned_job_and_the_same_report_again_is_no_error(store):
    job_id = new(store, JobStatus.RUNNING)

    for _ in range(2):
        store.report_job_result(job_id, JobStatus.FAILED, error_message="broken")
    assert store.get_job(job_id).error_message == "broken"
    with pytest.raises(JobTerminalStateUpdateException):
        store.report_job_result(job_id, JobStatus.SUCCEEDED, result="1")
    with pytest.raises(InvalidJobTransition, match="report"):
        store.report_job_result(new(store), JobStatus.SUCCEEDED, result="1")


def test_report_of_a_canceled_job_ends_its_lease_and_lock(store):
    claimed = claim_one(store, lock_key="key").claim

    store.report_job_result(claimed.job_id, JobStatus.CANCELED)

    assert status_of(store, claimed.job_id) is JobStatus.CANCELED
    assert locks_of(store) == {}


@pytest.mark.parametrize(
    ("report", "field"),
    [
        ({"status": JobStatus.RUNNING}, "status"),
        ({"status": JobStatus.SUCCEEDED, "error_message": "e"}, "error_message"),
        ({"status": JobStatus.FAILED}, "error_message"),
        ({"status": JobStatus.FAILED, "error_message": "e", "result": "1"}, "result"),
        ({"status": JobStatus.TIMEOUT, "result": "1"}, "result"),
    ],
)
def test_a_report_that_contradicts_itself_is_refused(store, report, field):
    job_id = new(store, JobStatus.RUNNING)

    with pytest.raises(MlflowException, match=f"`{field}`"):
        store.report_job_result(job_id, **report)
    assert status_of(store, job_id) is JobStatus.RUNNING


def test_an_unknown_job_is_not_found_by_any_of_them(store):
    lead(store)
    for verb in (
        lambda: store.claim_job("nowhere"),
        lambda: store.start_job("nowhere"),
        lambda: store.renew_job_lease("nowhere", 60),
        lambda: store.mark_job_needs_recovery("nowhere"),
        lambda: store.reattach_job("nowhere"),
        lambda: store.requeue_job("nowhere"),
        lambda: store.reset_job("nowhere"),
        lambda: store.finish_job("nowhere", "1"),
        lambda: store.retry_job("nowhere"),
        lambda: store.retry_or_fail_job("nowhere", "e"),
        lambda: store.report_job_result("nowhere", JobStatus.SUCCEEDED),
    ):
        with pytest.raises(JobNotFound):
            verb()
