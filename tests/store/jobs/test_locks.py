"""T3 and I4: who has an exclusivity lock, when it may be taken over, and who may give it back."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import tables
from mlflow.store.jobs.values import Claim, JobUpdateStatus
from tests.store.jobs.store_factories import (
    LEASE_SECONDS,
    change_raw,
    claim,
    claim_one,
    create,
    insert_raw,
    lead,
    locks_of,
    row_of,
    status_of,
    to_recovery,
)


def holder(store, **creation):
    return claim_one(store, lock_key="key", **creation).claim


def contend(store):
    """A second job with the same key, as its claim left it."""
    job = create(store, lock_key="key")
    batch = claim(store, "replica-b")
    return job.job_id, batch


def assert_conflict(store):
    job_id, batch = contend(store)
    assert (batch.claimed, batch.canceled) == ([], [job_id])
    return store.get_job(job_id)


def assert_taken_over(store):
    job_id, batch = contend(store)
    assert [job.claim.job_id for job in batch.claimed] == [job_id]
    assert locks_of(store) == {"key": (job_id, batch.claimed[0].claim.fence)}
    return job_id


def test_a_job_whose_lock_is_held_is_canceled_with_the_holder_named(store):
    held = holder(store)

    refused = assert_conflict(store)

    assert refused.status is JobStatus.CANCELED
    assert held.job_id in refused.error_message
    row = row_of(store, refused.job_id)
    assert (row.lease_expires_at, row.retry_count) == (None, 0)
    assert row.finished_at is not None
    assert locks_of(store) == {"key": (held.job_id, 1)}


def test_of_two_jobs_in_one_batch_the_older_gets_the_lock(store, clock):
    older = create(store, lock_key="key")
    clock.advance(seconds=1)
    younger = create(store, lock_key="key")

    batch = claim(store)

    assert [job.claim.job_id for job in batch.claimed] == [older.job_id]
    assert batch.canceled == [younger.job_id]


def test_different_keys_do_not_conflict(store):
    holder(store)
    create(store, lock_key="another key")

    assert len(claim(store).claimed) == 1


def test_the_lock_is_free_when_its_job_has_ended(store):
    store.succeed(holder(store), None)

    assert_taken_over(store)


def test_a_job_in_recovery_keeps_its_lock(store):
    store.abandon([holder(store)])

    assert_conflict(store)


def test_a_job_whose_lease_ran_out_keeps_its_lock_until_it_is_recovered(store, clock):
    held = holder(store)
    clock.advance(seconds=LEASE_SECONDS + 1)
    assert_conflict(store)

    term = lead(store)
    store.sweep(term)
    (candidate,) = store.recovery_candidates()
    store.requeue(candidate, term, max_recoveries=3)
    store.cancel_job(held.job_id)
    assert_taken_over(store)


def test_a_canceled_job_keeps_its_lock_while_its_work_may_live(store, clock):
    store.cancel_job(holder(store).job_id)

    clock.advance(seconds=LEASE_SECONDS - 5)
    assert_conflict(store)
    clock.advance(seconds=10)
    assert_taken_over(store)


def test_a_lock_of_a_job_that_ended_elsewhere_is_taken_over(store):
    held = holder(store)
    change_raw(store, held.job_id, status=JobStatus.FAILED.to_int(), lease_expires_at=None)

    assert_taken_over(store)


def test_a_lock_of_a_waiting_job_is_taken_over(store):
    held = holder(store)
    change_raw(store, held.job_id, status=JobStatus.PENDING.to_int(), next_attempt_at=2**60)

    assert_taken_over(store)


def test_a_lock_that_its_job_did_not_take_at_its_last_claim_is_taken_over(store):
    held = holder(store)
    change_raw(store, held.job_id, fence=held.fence + 1)

    assert_taken_over(store)
    assert status_of(store, held.job_id) is JobStatus.RUNNING


@pytest.mark.parametrize("timeout", [100.0, None])
def test_a_lock_is_taken_over_only_after_115_percent_of_the_timeout(store, clock, timeout):
    held = holder(store, timeout=timeout)
    limit = (timeout or 3600.0) * 1.15

    clock.advance(seconds=limit - 5)
    store.renew([held], LEASE_SECONDS)
    assert_conflict(store)
    clock.advance(seconds=10)
    thief = assert_taken_over(store)

    ended = store.get_job(held.job_id)
    assert ended.status is JobStatus.TIMEOUT
    assert thief in ended.error_message
    assert store.succeed(held, "late") is JobUpdateStatus.WRONG_STATE
    assert store.renew([held], LEASE_SECONDS) == {held}


def test_an_overdue_job_in_recovery_ends_when_its_lock_is_taken_over(store, clock):
    held = holder(store, timeout=100.0)
    store.abandon([held])
    clock.advance(seconds=120)

    assert_taken_over(store)
    assert status_of(store, held.job_id) is JobStatus.TIMEOUT


def test_a_job_that_lost_its_lock_cannot_give_back_its_successors(store, clock):
    held = holder(store, timeout=100.0)
    clock.advance(seconds=120)
    thief = assert_taken_over(store)

    store.succeed(held, None)
    store.confirm_canceled(held)

    assert locks_of(store)["key"][0] == thief


def test_a_reattached_job_keeps_its_lock_under_its_new_fence(store):
    claimed = claim_one(store, lock_key="key")
    candidate = to_recovery(store, claimed)

    claim_again = store.reattach(candidate, "replica-b", LEASE_SECONDS, lead(store))

    assert locks_of(store) == {"key": (claimed.claim.job_id, claim_again.fence)}
    assert_conflict(store)
    store.succeed(claimed.claim, None)
    assert locks_of(store) != {}
    store.succeed(claim_again, None)
    assert locks_of(store) == {}


@pytest.mark.parametrize("status", [JobStatus.RUNNING, JobStatus.NEEDS_RECOVERY])
def test_a_lock_without_a_fence_belongs_to_its_job_while_that_is_unfinished(store, status):
    held = create(store, lock_key="key")
    change_raw(store, held.job_id, status=status.to_int(), fence=3)
    insert_raw(
        store, tables.job_locks, lock_key="key", job_id=held.job_id, acquired_at=store.now_ms()
    )

    assert_conflict(store)
    change_raw(store, held.job_id, status=JobStatus.SUCCEEDED.to_int())
    assert_taken_over(store)


def test_a_job_takes_over_its_own_lock(store):
    held = create(store, lock_key="key")
    insert_raw(
        store, tables.job_locks, lock_key="key", job_id=held.job_id, acquired_at=store.now_ms()
    )

    claim(store)

    assert locks_of(store) == {"key": (held.job_id, 1)}


def test_runners_that_contend_for_two_locks_at_once_never_share_one(store):
    for _ in range(12):
        for key in ("k1", "k2"):
            create(store, lock_key=key)
    start = threading.Barrier(4)

    def run(replica):
        start.wait()
        return [claim(store, replica, capacity={"job": 2}) for _ in range(6)]

    with ThreadPoolExecutor(4) as runners:
        batches = [batch for found in runners.map(run, "abcd") for batch in found]

    winners = [job for batch in batches for job in batch.claimed]
    assert sorted(job.lock_key for job in winners) == ["k1", "k2"]
    assert {key: Claim(*held) for key, held in locks_of(store).items()} == {
        job.lock_key: job.claim for job in winners
    }
