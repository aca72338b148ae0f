"""JobLockManager, the face of the locks for code that is not the framework's own."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.server.jobs.lock_manager import JobLockManager
from mlflow.store.jobs.errors import InvalidJobField, InvalidJobTransition, JobNotFound
from mlflow.store.jobs.values import Claim
from tests.store.jobs.store_factories import (
    LEASE_SECONDS,
    change_raw,
    claim,
    claim_one,
    create,
    lead,
    locks_of,
    status_of,
    to_recovery,
)


@pytest.fixture
def locks(store):
    return JobLockManager(store)


def test_a_lock_is_one_claims_until_it_is_released(store, locks):
    first, second = claim_one(store).claim, claim_one(store).claim

    lock = locks.acquire("key", first)

    assert (lock.lock_key, lock.job_id, lock.fence) == ("key", first.job_id, first.fence)
    assert abs(lock.acquired_at - store.now_ms()) < 60_000
    assert locks.acquire("key", second) is None
    assert locks.release(lock)
    assert not locks.release(lock)
    assert locks.acquire("key", second).job_id == second.job_id


def test_a_claim_that_acquires_its_lock_again_has_it_no_longer_for_that(store, locks, clock):
    owner = claim_one(store).claim
    lock = locks.acquire("key", owner)
    clock.advance(seconds=5)

    assert locks.acquire("key", owner) == lock
    assert locks.release(lock)


def test_a_lock_that_was_given_back_and_taken_again_is_another(store, locks, clock):
    owner = claim_one(store).claim
    first = locks.acquire("key", owner)
    locks.release(first)
    clock.advance(seconds=1)
    second = locks.acquire("key", owner)

    assert not locks.release(first)
    assert locks.release(second)


@pytest.mark.parametrize("end", ["succeed", "fail", "retry", "cancel"])
def test_the_end_of_the_claim_gives_every_lock_back(store, locks, end):
    claimed = claim_one(store, lock_key="its own")
    lock = locks.acquire("key", claimed.claim)
    assert set(locks_of(store)) == {"its own", "key"}

    if end == "cancel":
        store.cancel_job(claimed.claim.job_id)
        assert set(locks_of(store)) == {"its own", "key"}
        store.confirm_canceled(claimed.claim)
    elif end == "retry":
        store.retry(claimed.claim, "away", 1.0)
    else:
        getattr(store, end)(claimed.claim, "1")

    assert locks_of(store) == {}
    assert not locks.release(lock)


def test_a_lost_claim_takes_no_lock_and_gives_none_back(store, locks, clock):
    """I1, for the locks: the runner was paused past its lease, and the job runs elsewhere."""
    paused = claim_one(store).claim
    old_lock = locks.acquire("key", paused)
    clock.advance(seconds=LEASE_SECONDS + 1)
    term = lead(store)
    store.sweep(term)
    (candidate,) = store.recovery_candidates()
    store.requeue(candidate, term, 3)
    (current,) = claim(store, "replica-b").claimed
    lock = locks.acquire("key", current.claim)

    assert locks.acquire("key", paused) is None
    assert locks.acquire("another", paused) is None
    assert not locks.release(old_lock)
    assert locks_of(store) == {"key": (lock.job_id, lock.fence)}


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.SUCCEEDED, JobStatus.CANCELED])
def test_a_job_that_does_not_run_takes_no_lock(store, locks, status):
    owner = claim_one(store).claim
    change_raw(store, owner.job_id, status=status.to_int())

    assert locks.acquire("key", owner) is None
    with pytest.raises(InvalidJobTransition, match=str(status)):
        locks.acquire_exclusive_lock("key", owner.job_id)
    assert locks.acquire("key", Claim("nowhere", 1)) is None
    with pytest.raises(JobNotFound):
        locks.acquire_exclusive_lock("key", "nowhere")
    assert locks_of(store) == {}


def test_a_lock_follows_its_job_when_that_is_reattached(store, locks):
    claimed = claim_one(store)
    old_lock = locks.acquire("key", claimed.claim)
    again = store.reattach(to_recovery(store, claimed), "replica-b", LEASE_SECONDS, lead(store))

    assert not locks.release(old_lock)
    assert locks.acquire("key", claim_one(store).claim) is None
    assert locks.release(locks.acquire("key", again))


def test_a_lock_whose_holder_has_overrun_its_timeout_is_taken_over_and_ends_it(store, locks, clock):
    overdue = claim_one(store, timeout=100.0).claim
    locks.acquire("key", overdue)
    clock.advance(seconds=110)
    assert locks.acquire("key", claim_one(store).claim) is None
    clock.advance(seconds=10)

    assert locks.acquire("key", claim_one(store).claim) is not None
    assert status_of(store, overdue.job_id) is JobStatus.TIMEOUT


def test_a_lock_taken_by_hand_keeps_a_job_of_that_key_from_running(store, locks):
    locks.acquire("key", claim_one(store).claim)
    job = create(store, lock_key="key")

    assert claim(store).canceled == [job.job_id]


def test_of_many_claims_that_ask_at_once_one_gets_the_lock(store, locks):
    claims = [claim_one(store).claim for _ in range(6)]
    start = threading.Barrier(6)

    def run(owner):
        start.wait()
        return locks.acquire("key", owner)

    with ThreadPoolExecutor(6) as threads:
        taken = list(threads.map(run, claims))

    assert sum(lock is not None for lock in taken) == 1


def test_a_key_that_no_column_takes_is_refused_by_name(store, locks):
    with pytest.raises(InvalidJobField, match="`lock_key`"):
        locks.acquire("k" * 256, claim_one(store).claim)


def test_by_the_names_of_318_a_job_locks_and_unlocks_under_its_present_claim(store, locks):
    job = create(store)
    store.claim_job(job.job_id, 60.0)

    lock = locks.acquire_exclusive_lock("key", job.job_id)

    assert (lock.lock_key, lock.job_id) == ("key", job.job_id)
    assert locks.acquire_exclusive_lock("key", claim_one(store).claim.job_id) is None
    assert locks.acquire_exclusive_lock("key", job.job_id) == lock
    assert locks.release_exclusive_lock(lock) is None
    assert locks_of(store) == {}


def test_by_the_names_of_318_a_lease_is_acquired_and_renewed_until_it_has_run_out(
    store, locks, clock
):
    lease = locks.acquire_scheduler_lease("plugin", ttl_seconds=20)

    assert JobLockManager(store).acquire_scheduler_lease("plugin", ttl_seconds=20) is None
    clock.advance(seconds=15)
    assert locks.renew_scheduler_lease(lease, ttl_seconds=20) == lease
    clock.advance(seconds=21)
    assert locks.renew_scheduler_lease(lease, ttl_seconds=20) is None
    assert locks.acquire_scheduler_lease("plugin", ttl_seconds=20).fence == lease.fence + 1


@pytest.mark.parametrize("ttl_seconds", [0, -1, float("inf"), float("nan")])
def test_a_lease_needs_a_duration(store, locks, ttl_seconds):
    with pytest.raises(InvalidJobField, match="`ttl_seconds`"):
        locks.acquire_scheduler_lease("plugin", ttl_seconds)
