"""I3: in the store, a job that nobody runs any more is always found by a claim or by recovery."""

import pytest

from mlflow.entities._job_status import JobStatus
from tests.store.jobs.store_factories import (
    LEASE_SECONDS,
    change_raw,
    claim,
    claim_one,
    create,
    lead,
    status_of,
)


@pytest.mark.parametrize("timeout", [None, 5.0, 1.0e9])
@pytest.mark.parametrize("lock_key", [None, "key"])
def test_a_job_whose_runner_died_is_claimed_again(store, clock, timeout, lock_key):
    job_id = claim_one(store, timeout=timeout, lock_key=lock_key).claim.job_id
    clock.advance(seconds=LEASE_SECONDS + 1)
    term = lead(store)

    assert store.sweep(term) == 1
    (candidate,) = store.recovery_candidates()
    store.requeue(candidate, term, max_recoveries=3)
    assert [job.claim.job_id for job in claim(store, "survivor").claimed] == [job_id]


def test_a_job_whose_recovery_was_begun_by_a_leader_that_died_is_recovered_by_the_next(
    store, clock
):
    job_id = claim_one(store).claim.job_id
    clock.advance(seconds=LEASE_SECONDS + 1)
    store.sweep(lead(store, "first"))
    clock.advance(seconds=21)
    term = lead(store, "second")

    (candidate,) = store.recovery_candidates()
    reattached = store.reattach(candidate, "survivor", LEASE_SECONDS, term)
    clock.advance(seconds=LEASE_SECONDS + 1)
    store.sweep(lead(store, "third"))

    assert reattached.job_id == job_id
    assert status_of(store, job_id) is JobStatus.NEEDS_RECOVERY


def test_a_stream_of_new_jobs_does_not_starve_a_retried_one(store, clock):
    retried = claim_one(store).claim
    store.retry(retried, "flaky", delay_seconds=1)
    found = []
    for _ in range(6):
        for _ in range(2):
            create(store)
        clock.advance(seconds=1)
        found += [job.claim.job_id for job in claim(store, capacity={"job": 1}).claimed]

    assert retried.job_id in found


def test_rows_that_cannot_be_run_do_not_hold_up_the_others(store, clock):
    bad = [create(store).job_id for _ in range(3)]
    for job_id, params in zip(bad, ("{", "[]", '"text"'), strict=True):
        change_raw(store, job_id, params=params)
    clock.advance(seconds=1)
    good = create(store)

    found = []
    for _ in range(4):
        found += [job.claim.job_id for job in claim(store, capacity={"job": 1}).claimed]

    assert found == [good.job_id]
    assert [status_of(store, job_id) for job_id in bad] == [JobStatus.FAILED] * 3
