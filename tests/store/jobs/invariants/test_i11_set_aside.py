"""I11: a job that costs its runner or process again and again is set aside, with its reason."""

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs.values import JobUpdateStatus
from tests.store.jobs.store_factories import claim, claim_one, lead, row_of, to_recovery


def test_a_job_is_requeued_so_often_and_then_fails_with_its_reason(store):
    claimed = claim_one(store, lock_key="key", sealed_environment="sealed")
    term = lead(store, ttl_seconds=3600)
    for count in (1, 2):
        candidate = to_recovery(store, claimed)
        assert store.requeue(candidate, term, max_recoveries=2) is JobUpdateStatus.APPLIED
        (claimed,) = claim(store).claimed
        assert claimed.recovery_count == count

    answer = store.requeue(to_recovery(store, claimed), term, max_recoveries=2)

    job = store.get_job(claimed.claim.job_id)
    assert answer is JobUpdateStatus.APPLIED
    assert job.status is JobStatus.FAILED
    assert "recovered 2 times" in job.error_message
    row = row_of(store, job.job_id)
    assert (row.retry_count, row.sealed_environment) == (0, None)
    assert claim(store).claimed == []


def test_failures_and_crashes_are_counted_apart(store):
    claimed = claim_one(store)
    store.retry(claimed.claim, "flaky", delay_seconds=0)
    (claimed,) = claim(store).claimed
    store.requeue(to_recovery(store, claimed), lead(store), max_recoveries=1)

    row = row_of(store, claimed.claim.job_id)
    assert (row.retry_count, row.recovery_count) == (1, 1)
