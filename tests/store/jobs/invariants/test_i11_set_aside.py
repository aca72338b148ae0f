"""I11: a job that costs its runner or process again and again is set aside, with its history."""

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import crashes
from mlflow.store.jobs.values import Crash, JobUpdateStatus
from tests.store.jobs.store_factories import (
    LEASE_SECONDS,
    change_raw,
    claim,
    claim_again,
    claim_one,
    lead,
    row_of,
    to_recovery,
)

APPLIED = JobUpdateStatus.APPLIED


@pytest.fixture
def crash(store, clock):
    """Let the runner of a job die, and recovery see it under this term."""

    def crash(claimed, term, max_recoveries=2, reason=None):
        clock.advance(seconds=LEASE_SECONDS + 1)
        assert store.sweep(term) == 1
        (candidate,) = store.recovery_candidates()
        assert candidate.job_id == claimed.claim.job_id
        return store.requeue(candidate, term, max_recoveries, reason)

    return crash


def test_a_job_is_requeued_so_often_and_then_fails_with_its_history(store, crash):
    claimed = claim_one(store, "a", lock_key="key", sealed_environment="sealed")
    term = lead(store, ttl_seconds=3600)
    for count, replica in enumerate("bc", 1):
        assert crash(claimed, term) is APPLIED
        claimed = claim_again(store, replica)
        assert claimed.recovery_count == count

    assert crash(claimed, term, reason="out of memory") is APPLIED

    job = store.get_job(claimed.claim.job_id)
    assert job.status is JobStatus.FAILED
    assert [(each.replica, each.fence, each.reason) for each in job.crashes] == [
        ("a", 1, None),
        ("b", 2, None),
        ("c", 3, "out of memory"),
    ]
    seen = [each.seen_at for each in job.crashes]
    assert seen == sorted(set(seen))
    assert job.error_message.startswith("Its runner or process died 3 times while it ran: on a, ")
    assert "out of memory" in job.error_message
    row = row_of(store, job.job_id)
    assert (row.retry_count, row.recovery_count, row.sealed_environment) == (0, 3, None)
    assert claim(store).claimed == []


def test_a_job_that_is_handed_over_again_and_again_is_never_set_aside(store):
    claimed = claim_one(store)
    term = lead(store, ttl_seconds=3600)
    for _ in range(5):
        assert store.requeue(to_recovery(store, claimed), term, max_recoveries=1) is APPLIED
        (claimed,) = claim(store).claimed

    row = row_of(store, claimed.claim.job_id)
    assert (row.recovery_count, row.crashes) == (0, None)


def test_a_hand_over_after_a_crash_is_not_taken_for_another_crash(store, crash):
    claimed = claim_one(store)
    term = lead(store, ttl_seconds=3600)
    crash(claimed, term, max_recoveries=1)
    claimed = claim_again(store)

    assert store.requeue(to_recovery(store, claimed), term, max_recoveries=1) is APPLIED

    assert row_of(store, claimed.claim.job_id).recovery_count == 1
    claim_again(store)


def test_failures_and_crashes_are_counted_apart(store):
    claimed = claim_one(store)
    store.retry(claimed.claim, "flaky", delay_seconds=0)
    (claimed,) = claim(store).claimed
    store.requeue(to_recovery(store, claimed, lost=True), lead(store), max_recoveries=1)

    row = row_of(store, claimed.claim.job_id)
    assert (row.retry_count, row.recovery_count) == (1, 1)


def test_work_that_nobody_knows_the_end_of_counts_like_a_crash(store):
    claimed = claim_one(store)

    store.requeue(to_recovery(store, claimed, lost=True), lead(store), max_recoveries=0)

    assert store.get_job(claimed.claim.job_id).status is JobStatus.FAILED


def test_a_crash_that_only_the_backend_saw_counts(store):
    claimed = claim_one(store)
    before = store.now_ms()

    store.requeue(to_recovery(store, claimed), lead(store), 0, "the pod was evicted")

    job = store.get_job(claimed.claim.job_id)
    assert job.status is JobStatus.FAILED
    (crash,) = job.crashes
    assert before <= crash.seen_at <= store.now_ms()
    assert crash.reason == "the pod was evicted"


def test_a_reattached_job_is_no_crash_and_its_next_hand_over_is_none_either(store, clock):
    claimed = claim_one(store)
    term = lead(store, ttl_seconds=3600)
    candidate = to_recovery(store, claimed, lost=True)
    again = store.reattach(candidate, "b", LEASE_SECONDS, term)
    store.abandon([again])
    (candidate,) = store.recovery_candidates()

    assert store.requeue(candidate, term, max_recoveries=0) is APPLIED

    row = row_of(store, claimed.claim.job_id)
    assert (JobStatus.from_int(row.status), row.recovery_count) == (JobStatus.PENDING, 0)


def test_the_history_is_bounded_and_its_message_says_how_many_there_were(store, crash):
    claimed = claim_one(store)
    term = lead(store, ttl_seconds=3600)
    most = crashes.MOST_KEPT + 2
    for _ in range(most):
        crash(claimed, term, max_recoveries=most, reason="x" * 100_000)
        claimed = claim_again(store)
    crash(claimed, term, max_recoveries=most)

    job = store.get_job(claimed.claim.job_id)
    assert [each.fence for each in job.crashes] == [*range(4, most + 2)]
    assert f"died {most + 1} times while it ran, the last {crashes.MOST_KEPT} of them" in (
        job.error_message
    )
    assert len(job.error_message) < 10_000


@pytest.mark.parametrize(
    "stored",
    [{}, "text", [None], [{"fence": 1}], [{"seen_at": 10**30, "replica": "a", "fence": 1}]],
)
def test_a_history_that_cannot_be_read_does_not_keep_a_job_from_recovery(store, stored):
    claimed = claim_one(store)
    change_raw(store, claimed.claim.job_id, crashes=stored)
    candidate = to_recovery(store, claimed, lost=True)

    assert candidate.crashes == ()
    assert store.requeue(candidate, lead(store), max_recoveries=3) is APPLIED
    assert len(store.get_job(claimed.claim.job_id).crashes) == 1


def test_one_crash_is_told_as_one():
    text = crashes.told(1, [Crash(1_700_000_000_000, None, 1)])

    assert "died once while it ran: on an unknown replica, seen 2023-11-14 22:13:20 UTC." in text
