"""T9 and T11 to T13: what becomes of jobs whose runner is gone."""

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs.values import Claim, JobUpdateStatus
from tests.store.jobs.store_factories import (
    LEASE_SECONDS,
    change_raw,
    claim,
    claim_one,
    create,
    lead,
    locks_of,
    row_of,
    status_of,
    to_recovery,
)

APPLIED, WRONG_STATE, CLAIM_LOST = JobUpdateStatus


def test_the_sweep_takes_jobs_whose_lease_ran_out_and_no_others(store, clock):
    stale, renewed = claim_one(store).claim, claim_one(store).claim
    waiting = create(store, job_name="unserved")
    clock.advance(seconds=LEASE_SECONDS + 1)
    store.renew([renewed], LEASE_SECONDS)

    assert store.sweep(lead(store)) == 1

    row = row_of(store, stale.job_id)
    assert JobStatus.from_int(row.status) is JobStatus.NEEDS_RECOVERY
    assert (row.lease_expires_at, row.fence) == (None, 1)
    assert status_of(store, renewed.job_id) is JobStatus.RUNNING
    assert status_of(store, waiting.job_id) is JobStatus.PENDING


def test_the_sweep_takes_a_job_that_runs_longer_than_115_percent_of_its_timeout(store, clock):
    claimed = claim_one(store, timeout=100.0).claim
    clock.advance(seconds=114)
    store.renew([claimed], LEASE_SECONDS)
    term = lead(store)
    assert store.sweep(term) == 0
    clock.advance(seconds=2)

    assert store.sweep(term) == 1


def test_an_absurd_timeout_does_not_keep_the_sweep_from_other_jobs(store, clock):
    change_raw(store, create(store).job_id, timeout=1.0e300)
    claim(store)
    stale = claim_one(store).claim
    clock.advance(seconds=LEASE_SECONDS + 1)

    assert store.sweep(lead(store)) == 2
    assert status_of(store, stale.job_id) is JobStatus.NEEDS_RECOVERY


def test_a_running_job_that_nobody_leased_is_swept(store):
    job = create(store)
    store.start_job(job.job_id)

    assert store.sweep(lead(store)) == 1


def test_the_sweep_is_bounded(store, clock):
    for _ in range(3):
        claim_one(store)
    clock.advance(seconds=LEASE_SECONDS + 1)
    term = lead(store)

    assert [store.sweep(term, limit=2) for _ in range(3)] == [2, 1, 0]


def test_only_the_leader_sweeps(store, clock):
    claimed = claim_one(store).claim
    term = lead(store)
    clock.advance(seconds=LEASE_SECONDS + 1)

    assert store.sweep(term) == 0
    assert status_of(store, claimed.job_id) is JobStatus.RUNNING
    assert store.sweep(lead(store, "next")) == 1


def test_a_candidate_says_what_recovery_has_to_know(store):
    claimed = claim_one(store, executor_backend="local")

    candidate = to_recovery(store, claimed)

    assert (candidate.job_id, candidate.fence) == (claimed.claim.job_id, 1)
    assert (candidate.backend, candidate.job_name) == ("local", "job")
    assert (candidate.recovery_count, candidate.claimed_by) == (0, "replica-a")
    assert (candidate.crashed_at, candidate.crashes) == (None, ())
    assert store.recovery_candidates(limit=0) == []


def test_reattach_gives_a_new_fence_and_lease_and_keeps_the_token(store):
    claimed = claim_one(store)
    change_raw(store, claimed.claim.job_id, token_hash="0" * 64)
    candidate = to_recovery(store, claimed)

    again = store.reattach(candidate, "replica-b", LEASE_SECONDS, lead(store))

    row = row_of(store, claimed.claim.job_id)
    assert again == Claim(claimed.claim.job_id, 2)
    assert (JobStatus.from_int(row.status), row.claimed_by) == (JobStatus.RUNNING, "replica-b")
    assert row.lease_expires_at == row.last_update_time + LEASE_SECONDS * 1000
    assert row.token_hash == "0" * 64
    assert store.succeed(claimed.claim, None) is CLAIM_LOST
    assert store.succeed(again, None) is APPLIED


def test_requeue_makes_the_job_claimable_and_counts_apart_from_retries(store):
    claimed = claim_one(store, lock_key="key")
    change_raw(store, claimed.claim.job_id, token_hash="0" * 64)
    candidate = to_recovery(store, claimed, lost=True)

    assert store.requeue(candidate, lead(store), max_recoveries=3) is APPLIED

    row = row_of(store, claimed.claim.job_id)
    assert (row.recovery_count, row.retry_count, row.token_hash) == (1, 0, None)
    assert locks_of(store) == {}
    (again,) = claim(store, "replica-b").claimed
    assert (again.claim.fence, again.recovery_count) == (2, 1)


def test_a_failed_recovery_ends_the_job_with_its_reason(store):
    claimed = claim_one(store, lock_key="key", sealed_environment="sealed")
    candidate = to_recovery(store, claimed)

    assert store.fail_recovery(candidate, "nobody knows it", lead(store)) is APPLIED

    job = store.get_job(claimed.claim.job_id)
    assert (job.status, job.error_message) == (JobStatus.FAILED, "nobody knows it")
    assert row_of(store, job.job_id).sealed_environment is None
    assert locks_of(store) == {}


def test_a_recovery_can_be_failed_only_after_it_has_waited(store, clock):
    candidate = to_recovery(store, claim_one(store))
    term = lead(store, ttl_seconds=3600)
    clock.advance(seconds=59)

    assert store.fail_recovery(candidate, "nobody has it", term, after_seconds=60) is WRONG_STATE
    clock.advance(seconds=2)
    assert store.fail_recovery(candidate, "nobody has it", term, after_seconds=60) is APPLIED


def test_a_backend_is_served_while_one_of_its_jobs_runs_under_a_live_lease(store, clock):
    create(store, executor_backend="local")
    assert not store.is_served("local")
    claimed = claim(store).claimed[0].claim
    assert (store.is_served("local"), store.is_served("ray")) == (True, False)
    clock.advance(seconds=LEASE_SECONDS + 1)
    assert not store.is_served("local")
    store.renew([claimed], LEASE_SECONDS)
    assert store.is_served("local")
    store.succeed(claimed, "1")
    assert not store.is_served("local")


def test_the_backends_that_pending_jobs_wait_for_are_known_with_how_many(store):
    for backend in (None, "local", "ray:b", "ray:a", "ray:b"):
        create(store, executor_backend=backend)
    store.cancel_job(create(store, executor_backend="nobody's").job_id)

    assert sorted(store.waiting_backends()) == ["local", "ray:a", "ray:b"]
    assert store.count_waiting("ray:b") == (2, True)
    assert store.count_waiting("ray:b", limit=1) == (1, False)
    assert store.count_waiting("nobody's") == (0, True)


RECOVERIES = {
    "T11 reattach": lambda store, candidate, term: store.reattach(
        candidate, "replica-b", LEASE_SECONDS, term
    ),
    "T12 requeue": lambda store, candidate, term: store.requeue(candidate, term, 3),
    "T12 after a crash": lambda store, candidate, term: store.requeue(candidate, term, 3, "died"),
    "T12 set aside": lambda store, candidate, term: store.requeue(candidate, term, 0, "died"),
    "T13 fail": lambda store, candidate, term: store.fail_recovery(candidate, "lost", term),
}
recovery = pytest.mark.parametrize("recover", RECOVERIES.values(), ids=RECOVERIES)


@recovery
def test_only_the_leader_recovers(store, clock, recover):
    candidate = to_recovery(store, claim_one(store))
    term = lead(store)
    clock.advance(seconds=21)

    assert recover(store, candidate, term) in (None, WRONG_STATE)
    assert status_of(store, candidate.job_id) is JobStatus.NEEDS_RECOVERY


@recovery
def test_a_candidate_is_recovered_once(store, recover):
    candidate = to_recovery(store, claim_one(store))
    term = lead(store)
    store.requeue(candidate, term, max_recoveries=3)
    claim(store, "replica-b")
    before = row_of(store, candidate.job_id)

    assert recover(store, candidate, term) in (None, CLAIM_LOST)
    assert row_of(store, candidate.job_id) == before


@recovery
def test_a_job_that_reported_its_result_meanwhile_is_not_recovered(store, recover):
    claimed = claim_one(store)
    candidate = to_recovery(store, claimed)
    store.succeed(claimed.claim, "1")

    assert recover(store, candidate, lead(store)) in (None, WRONG_STATE)
    assert status_of(store, candidate.job_id) is JobStatus.SUCCEEDED


@recovery
def test_a_job_that_needs_recovery_again_under_a_new_fence_is_not_the_same_candidate(
    store, recover
):
    old = to_recovery(store, claim_one(store))
    term = lead(store)
    to_recovery_again = store.reattach(old, "replica-b", LEASE_SECONDS, term)
    store.abandon([to_recovery_again])

    assert recover(store, old, term) in (None, CLAIM_LOST)
    assert status_of(store, old.job_id) is JobStatus.NEEDS_RECOVERY
