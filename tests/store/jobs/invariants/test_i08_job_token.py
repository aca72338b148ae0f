"""I8: a job token opens what its job was granted, while the claim that it was made for lives."""

import pytest

from mlflow.entities._job import JobProgress, JobScopedPermission
from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs.job_tokens import hash_of
from mlflow.store.jobs.values import CheckpointMove, ClaimedJob, JobUpdateStatus, TokenHolder
from tests.store.jobs.store_factories import (
    LEASE_SECONDS,
    change_raw,
    claim,
    create,
    lead,
    locks_of,
    not_exclusive,
    row_of,
    to_recovery,
)

APPLIED = JobUpdateStatus.APPLIED
CLAIM_LOST = JobUpdateStatus.CLAIM_LOST
WRONG_STATE = JobUpdateStatus.WRONG_STATE
REMOTE = "ray"
GRANT = (JobScopedPermission("experiment", "7", None, "EDIT"),)
CHECKPOINT = CheckpointMove("0", "mlflow.latestOnlineScoring.trace.checkpoint", {"timestamp_ms": 1})


def claim_remote(store, replica: str = "replica-a", lock_key_for=not_exclusive) -> ClaimedJob:
    (job,) = store.claim_batch(
        replica, [REMOTE], {"job": 10}, LEASE_SECONDS, lock_key_for, token_backends=[REMOTE]
    ).claimed
    return job


@pytest.fixture
def remote(store) -> ClaimedJob:
    """A claimed job of a remote backend."""
    create(store, executor_backend=REMOTE, scoped_permissions=GRANT, lock_key="key")
    return claim_remote(store)


def holder_of(job: ClaimedJob) -> TokenHolder:
    return TokenHolder(job.claim.job_id, hash_of(job.token))


def recover(store, job: ClaimedJob, by: str):
    """Let the leader take the job over; answers what it did, and its new claim, if any."""
    term = lead(store)
    candidate = to_recovery(store, job)
    if by == "requeue":
        return store.requeue(candidate, term, max_recoveries=3)
    if by == "reattach":
        return store.reattach(candidate, "replica-b", LEASE_SECONDS, term)
    return store.fail_recovery(candidate, "gone", term)


WAYS_TO_END = {
    "T5": lambda store, job: store.succeed(job.claim, "1"),
    "T5 by token": lambda store, job: store.succeed(holder_of(job), "1"),
    "T6": lambda store, job: store.fail(job.claim, "broken"),
    "T6 by token": lambda store, job: store.fail(holder_of(job), "broken"),
    "T6 time out": lambda store, job: store.time_out(job.claim),
    "T7": lambda store, job: store.retry(job.claim, "away", 0.0),
    "T7 by token": lambda store, job: store.retry(holder_of(job), "away", 0.0),
    "T8": lambda store, job: store.cancel_job(job.claim.job_id),
    "T12": lambda store, job: recover(store, job, "requeue"),
    "T13": lambda store, job: recover(store, job, "fail"),
}

# What remote work may do while its claim lives; `late` is not how any of the ways above ends.
TOKEN_WRITES = {
    "succeed": lambda store, holder: store.succeed(holder, '"late"', CHECKPOINT),
    "fail": lambda store, holder: store.fail(holder, "late"),
    "time out": lambda store, holder: store.time_out(holder, "late"),
    "progress": lambda store, holder: store.report_progress(holder, "late"),
    "status details": lambda store, holder: store.report_progress(
        holder, status_details={"late": 1}
    ),
}


def test_only_claims_for_remote_backends_come_with_a_token(store):
    create(store, executor_backend="local")
    create(store, executor_backend=REMOTE)
    batch = store.claim_batch(
        "a", ["local", REMOTE], {"job": 10}, LEASE_SECONDS, not_exclusive, token_backends=[REMOTE]
    )
    tokens = {job.backend: job.token for job in batch.claimed}

    assert tokens["local"] is None
    assert len(tokens[REMOTE]) >= 43


def test_every_remote_job_of_a_batch_has_a_token_of_its_own(store):
    for _ in range(3):
        create(store, executor_backend=REMOTE)
    batch = store.claim_batch(
        "a", [REMOTE], {"job": 10}, LEASE_SECONDS, not_exclusive, token_backends=[REMOTE]
    )

    assert len({job.token for job in batch.claimed}) == 3
    for job in batch.claimed:
        assert row_of(store, job.claim.job_id).token_hash == hash_of(job.token)


def test_the_database_knows_the_hash_of_a_token_and_never_the_token(store, remote):
    row = row_of(store, remote.claim.job_id)

    assert row.token_hash == hash_of(remote.token)
    assert remote.token not in repr(tuple(row))
    assert remote.token not in repr(remote)


def test_a_live_token_shows_what_its_job_was_granted(store, remote):
    job = store.job_of_token(holder_of(remote))

    assert (job.job_id, job.workspace, job.live) == (remote.claim.job_id, "default", True)
    assert job.permissions == GRANT


def test_a_token_lives_on_in_recovery_and_through_a_reattachment(store, remote):
    store.abandon([remote.claim])
    assert store.job_of_token(holder_of(remote)).live
    (candidate,) = store.recovery_candidates()
    reattached = store.reattach(candidate, "replica-b", LEASE_SECONDS, lead(store))

    assert reattached.fence == remote.claim.fence + 1
    assert store.job_of_token(holder_of(remote)).permissions == GRANT
    assert store.succeed(holder_of(remote), '"done"') is APPLIED
    assert store.succeed(reattached, '"other"') is WRONG_STATE
    assert store.get_job(remote.claim.job_id).result == '"done"'
    assert locks_of(store) == {}


@pytest.mark.parametrize("write", TOKEN_WRITES.values(), ids=TOKEN_WRITES)
@pytest.mark.parametrize("end", WAYS_TO_END.values(), ids=WAYS_TO_END)
def test_a_token_opens_nothing_once_its_claim_has_ended(store, remote, end, write):
    end(store, remote)
    before = row_of(store, remote.claim.job_id), locks_of(store)
    job = store.job_of_token(holder_of(remote))

    assert (job.live, job.permissions, before[0].token_hash) == (False, (), None)
    assert write(store, holder_of(remote)) in (WRONG_STATE, CLAIM_LOST)
    assert (row_of(store, remote.claim.job_id), locks_of(store)) == before


@pytest.mark.parametrize("write", TOKEN_WRITES.values(), ids=TOKEN_WRITES)
@pytest.mark.parametrize("way", ["T7", "T12"])
def test_the_next_claim_of_a_job_ends_the_token_of_the_one_before(store, remote, clock, way, write):
    WAYS_TO_END[way](store, remote)
    clock.advance(seconds=1)
    again = claim_remote(store)
    before = row_of(store, remote.claim.job_id)

    assert again.token != remote.token
    assert store.job_of_token(holder_of(remote)) is None
    assert write(store, holder_of(remote)) is CLAIM_LOST
    assert row_of(store, remote.claim.job_id) == before
    assert store.job_of_token(holder_of(again)).live


@pytest.mark.parametrize("write", TOKEN_WRITES.values(), ids=TOKEN_WRITES)
def test_the_token_of_another_job_opens_nothing_here(store, remote, write):
    create(store, executor_backend=REMOTE)
    other = claim_remote(store)
    forged = TokenHolder(remote.claim.job_id, hash_of(other.token))
    before = row_of(store, remote.claim.job_id)

    assert store.job_of_token(forged) is None
    assert write(store, forged) is CLAIM_LOST
    assert row_of(store, remote.claim.job_id) == before


@pytest.mark.parametrize("write", TOKEN_WRITES.values(), ids=TOKEN_WRITES)
def test_no_token_opens_a_job_that_was_given_none(store, write):
    create(store)
    (job,) = claim(store).claimed
    before = row_of(store, job.claim.job_id)

    for shown in (hash_of(""), "", "None"):
        holder = TokenHolder(job.claim.job_id, shown)
        assert store.job_of_token(holder) is None
        assert write(store, holder) is CLAIM_LOST
    assert row_of(store, job.claim.job_id) == before


def test_a_row_that_waits_with_a_hash_of_other_software_opens_nothing(store):
    job = create(store, executor_backend=REMOTE)
    change_raw(store, job.job_id, token_hash=hash_of("old"), issued_token_hash=hash_of("old"))
    old = TokenHolder(job.job_id, hash_of("old"))
    assert store.job_of_token(old).live is False
    claim(store, backends=[REMOTE])

    assert store.job_of_token(old) is None
    assert store.succeed(old, "1") is CLAIM_LOST


def test_a_canceled_conflict_leaves_no_token(store, remote):
    create(store, job_id="second", executor_backend=REMOTE, lock_key="key")
    batch = store.claim_batch(
        "a", [REMOTE], {"job": 10}, LEASE_SECONDS, not_exclusive, token_backends=[REMOTE]
    )

    assert batch.canceled == ["second"]
    row = row_of(store, "second")
    assert (row.token_hash, row.issued_token_hash) == (None, None)


def test_a_report_that_is_repeated_is_taken_once_and_another_one_refused(store, remote):
    holder = holder_of(remote)
    assert store.succeed(holder, '"x"') is APPLIED
    row = row_of(store, remote.claim.job_id)

    assert store.succeed(holder, '"x"') is APPLIED
    assert store.succeed(holder, '"y"') is WRONG_STATE
    assert store.fail(holder, "broken") is WRONG_STATE
    assert row_of(store, remote.claim.job_id) == row


def test_a_retry_that_is_reported_twice_is_counted_once(store, remote):
    holder = holder_of(remote)

    assert store.retry(holder, "away", 5.0) is APPLIED
    assert store.retry(holder, "away", 5.0) is APPLIED
    assert row_of(store, remote.claim.job_id).retry_count == 1


def test_what_remote_work_reports_is_stored_as_its_owner_would(store, remote):
    holder = holder_of(remote)
    store.report_progress(holder, "half", JobProgress("scoring", 1, 2), {"a": 1})
    store.report_progress(holder, status_details={"b": 2})
    job = store.get_job(remote.claim.job_id)

    assert (job.status_message, job.status_details) == ("half", {"a": 1, "b": 2})
    assert (job.progress.phase, job.progress.completed) == ("scoring", 1)
    assert store.retry(holder, "away", 5.0) is APPLIED
    assert store.get_job(remote.claim.job_id).status is JobStatus.PENDING
    assert locks_of(store) == {}


def test_a_runner_that_ends_a_job_which_its_workload_has_reported_changes_nothing(store, remote):
    assert store.succeed(holder_of(remote), '"done"') is APPLIED
    before = row_of(store, remote.claim.job_id)

    assert store.fail(remote.claim, "ended without a result") is WRONG_STATE
    assert row_of(store, remote.claim.job_id) == before
