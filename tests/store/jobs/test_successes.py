"""T5 of several claims in one transaction: all of them, or nothing has changed."""

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.errors import InvalidJobField, NotAllSucceeded
from mlflow.store.jobs.values import Claim, JobUpdateStatus, Success
from tests.store.jobs.store_factories import (
    claim,
    claim_one,
    create,
    insert_raw,
    lead,
    locks_of,
    row_of,
    status_of,
    tables,
    to_recovery,
)


def claim_several(store, count: int, **creation) -> list[Claim]:
    for _ in range(count):
        create(store, **creation)
    claims = [each.claim for each in claim(store, capacity={"job": count}).claimed]
    assert len(claims) == count
    return claims


def requeued(store, held: Claim) -> None:
    assert store.abandon([held]) == 1
    (candidate,) = store.recovery_candidates()
    store.requeue(candidate, lead(store), max_recoveries=3)


REFUSALS = {
    "old fence": lambda store, held: Claim(held.job_id, held.fence - 1),
    "deleted": lambda store, held: Claim("gone", 1),
    "canceled": lambda store, held: store.cancel_job(held.job_id) and held,
    "failed": lambda store, held: store.fail(held, "error") and held,
    "succeeded already": lambda store, held: store.succeed(held, '"own"') and held,
    "requeued": lambda store, held: requeued(store, held) or held,
}


@pytest.mark.parametrize("count", [1, 2, 32])
def test_each_job_of_a_group_succeeds_with_its_own_result(store, count):
    claims = claim_several(store, count)

    assert store.succeed_all([Success(each, f'"{each.job_id}"') for each in claims])

    for each in claims:
        shown = store.get_job(each.job_id)
        assert (shown.status, shown.parsed_result) == (JobStatus.SUCCEEDED, each.job_id)


def test_a_group_ends_as_its_jobs_would_one_by_one(store):
    alone = claim_one(store, lock_key="a", sealed_environment="sealed").claim
    first = claim_one(store, lock_key="b", sealed_environment="sealed").claim
    second = claim_one(store, lock_key="c", sealed_environment="sealed").claim
    store.update_job_progress(first.job_id, "half")

    assert store.succeed(alone, "1") is JobUpdateStatus.APPLIED
    assert store.succeed_all([Success(first, "1"), Success(second, None)])

    expected = row_of(store, alone.job_id)._asdict()
    own = {"id", "result", "creation_time", "started_at", "finished_at", "last_update_time"}
    for each in (first, second):
        row = row_of(store, each.job_id)
        assert row.finished_at == row.last_update_time >= row.started_at
        differing = {name for name, value in row._asdict().items() if value != expected[name]}
        assert differing <= own | {"lock_key"}
    assert row_of(store, second.job_id).result is None
    assert locks_of(store) == {}


@pytest.mark.parametrize("spoil", REFUSALS.values(), ids=REFUSALS)
def test_one_claim_that_is_refused_leaves_the_whole_group_as_it_was(store, spoil):
    held = claim_one(store, lock_key="key").claim
    spoiled = spoil(store, claim_one(store, lock_key="other").claim)
    before = row_of(store, held.job_id)
    locks = locks_of(store)
    refused = None if spoiled.job_id == "gone" else row_of(store, spoiled.job_id)

    assert store.succeed_all([Success(spoiled, '"own"'), Success(held, "1")]) is False

    assert row_of(store, held.job_id) == before
    assert locks_of(store) == locks
    assert refused is None or row_of(store, spoiled.job_id) == refused
    assert store.succeed(held, "1") is JobUpdateStatus.APPLIED


def test_what_a_group_makes_room_for_is_claimed_in_its_transaction(store):
    held = claim_one(store, sealed_environment="sealed").claim
    waiting = create(store).job_id

    batch = claim(store, after=[Success(held, '"own"')])

    assert [each.claim.job_id for each in batch.claimed] == [waiting]
    shown = store.get_job(held.job_id)
    assert (shown.status, shown.parsed_result) == (JobStatus.SUCCEEDED, "own")
    assert row_of(store, held.job_id).sealed_environment is None


@pytest.mark.parametrize("spoil", REFUSALS.values(), ids=REFUSALS)
def test_a_claim_after_a_group_that_is_refused_claims_nothing(store, spoil):
    held = claim_one(store).claim
    spoiled = spoil(store, claim_one(store).claim)
    waiting = create(store, job_name="other").job_id

    with pytest.raises(NotAllSucceeded):
        claim(store, after=[Success(held, "1"), Success(spoiled, '"own"')])

    assert status_of(store, held.job_id) is JobStatus.RUNNING
    assert status_of(store, waiting) is JobStatus.PENDING


def test_a_claim_says_which_types_may_have_more(store):
    for _ in range(3):
        create(store)
    create(store, job_name="other")

    assert claim(store, capacity={"job": 2, "other": 2}).filled == {"job"}
    assert claim(store, capacity={"job": 1, "other": 1}).filled == {"job"}
    assert claim(store, capacity={"job": 1, "other": 1}).filled == frozenset()


def test_two_claims_of_one_job_are_never_both_met(store):
    held = claim_one(store).claim
    later = Claim(held.job_id, held.fence + 1)

    assert store.succeed_all([Success(held, "1"), Success(later, "2")]) is False
    assert status_of(store, held.job_id) is JobStatus.RUNNING


def test_jobs_in_recovery_can_still_be_ended_by_their_owner_together(store):
    first, second = claim_several(store, 2)
    store.abandon([first])

    assert store.succeed_all([Success(first, "1"), Success(second, "2")])
    assert store.recovery_candidates() == []


def test_a_group_frees_only_the_locks_that_its_claims_hold(store):
    first = claim_one(store, lock_key="mine").claim
    second = claim_one(store).claim
    other = claim_one(store, lock_key="other").claim
    insert_raw(
        store,
        tables.job_locks,
        lock_key="later",
        job_id=second.job_id,
        fence=second.fence + 1,
        acquired_at=1,
    )
    insert_raw(store, tables.job_locks, lock_key="stock", job_id=second.job_id, acquired_at=1)

    assert store.succeed_all([Success(first, "1"), Success(second, "2")])

    assert set(locks_of(store)) == {"other", "later"}
    assert locks_of(store)["other"] == (other.job_id, other.fence)


def test_a_result_that_cannot_be_stored_is_refused_before_anything_is_written(store):
    first, second = claim_several(store, 2)

    with pytest.raises(InvalidJobField, match="`result`"):
        store.succeed_all([Success(first, "1"), Success(second, "NaN")])
    assert status_of(store, first.job_id) is JobStatus.RUNNING


def test_a_group_of_none_has_succeeded(store):
    held = claim_one(store).claim

    assert store.succeed_all([])
    assert status_of(store, held.job_id) is JobStatus.RUNNING


def test_a_store_without_the_verb_writes_each_success_alone():
    assert AbstractJobStore.succeed_all(None, [Success(Claim("1", 1), "1")]) is False


def test_a_success_never_shows_its_result():
    assert "secret" not in repr(Success(Claim("1", 1), '"secret"'))


def test_recovery_that_found_a_job_loses_against_its_group(store):
    claimed = claim_one(store)
    candidate = to_recovery(store, claimed)

    assert store.succeed_all([Success(claimed.claim, "1")])
    assert store.requeue(candidate, lead(store), 3) is JobUpdateStatus.WRONG_STATE
