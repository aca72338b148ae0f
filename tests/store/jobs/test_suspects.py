"""I11: a job that may be what its runners die of is claimed by itself, one for each runner."""

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import tables
from mlflow.store.jobs.values import DueWork, JobUpdateStatus
from tests.store.jobs.store_factories import (
    LEASE_SECONDS,
    claim,
    claim_again,
    claim_one,
    claim_suspect,
    create,
    insert_raw,
    lead,
    locks_of,
    row_of,
    status_of,
    to_recovery,
)

APPLIED = JobUpdateStatus.APPLIED
BOTH = ["job", "other"]


@pytest.fixture
def term(store):
    return lead(store, ttl_seconds=3600)


@pytest.fixture
def crash(store, term):
    """Lose a claim so often, claiming the job again in between."""

    def crash(claimed, times=1, max_recoveries=3):
        for number in range(times):
            if number:
                claimed = claim_again(store)
            candidate = to_recovery(store, claimed, lost=True)
            assert store.requeue(candidate, term, max_recoveries) is APPLIED

    return crash


@pytest.fixture
def make_suspect(store, crash):
    def make(**creation) -> str:
        claimed = claim_one(store, **creation)
        crash(claimed, max_recoveries=1)
        return claimed.claim.job_id

    return make


def ids(batch):
    return [job.claim.job_id for job in batch.claimed]


@pytest.mark.parametrize(
    ("max_recoveries", "ordinary_after"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)]
)
def test_a_job_is_a_suspect_once_it_has_used_more_than_half_of_its_recoveries(
    store, crash, max_recoveries, ordinary_after
):
    claimed = claim_one(store)
    for _ in range(ordinary_after):
        crash(claimed, max_recoveries=max_recoveries)
        assert claim_suspect(store).claimed == []
        (claimed,) = claim(store).claimed
        assert not claimed.is_suspect

    crash(claimed, max_recoveries=max_recoveries)

    assert claim(store).claimed == []
    (claimed,) = claim_suspect(store).claimed
    assert claimed.is_suspect
    assert claimed.recovery_count == ordinary_after + 1 <= max_recoveries


def test_suspects_are_claimed_one_at_a_time_the_oldest_first(store, make_suspect, clock):
    suspects = []
    for name in ("other", "job", "other"):
        suspects.append(make_suspect(job_name=name))
        clock.advance(seconds=1)
    ordinary = create(store)

    assert ids(claim(store)) == [ordinary.job_id]
    assert [ids(claim_suspect(store)) for _ in range(4)] == [[each] for each in suspects] + [[]]


def test_a_suspect_is_claimed_like_any_other_job(store, make_suspect):
    job_id = make_suspect(lock_key="key", executor_backend="local")
    fence = row_of(store, job_id).fence

    batch = claim_suspect(store, "replica-b", token_backends=["local"])

    (claimed,) = batch.claimed
    row = row_of(store, job_id)
    assert (claimed.claim.fence, row.claimed_by) == (fence + 1, "replica-b")
    assert row.lease_expires_at == row.started_at + LEASE_SECONDS * 1000
    assert locks_of(store) == {"key": (job_id, fence + 1)}
    assert claimed.token is not None
    assert batch.filled == {"job"}


def test_a_suspect_whose_lock_is_held_is_canceled_like_any_other_job(store, make_suspect):
    job_id = make_suspect(lock_key="key")
    claim_one(store, lock_key="key")

    batch = claim_suspect(store)

    assert (batch.claimed, batch.canceled, batch.filled) == ([], [job_id], {"job"})
    assert status_of(store, job_id) is JobStatus.CANCELED


@pytest.mark.parametrize(
    "served", [{"job_names": ["other"]}, {"job_names": []}, {"backends": ["ray"]}, {"backends": []}]
)
def test_a_suspect_of_a_type_or_backend_that_is_not_asked_for_is_left(store, make_suspect, served):
    make_suspect()

    assert claim_suspect(store, **served).claimed == []


def test_a_look_tells_of_which_types_a_suspect_is_due(store, make_suspect):
    make_suspect(job_name="other", executor_backend="local")

    look = store.due_work([None, "local"], BOTH, [*BOTH, "no-such-job"])

    assert look == DueWork(ordinary=False, suspects=frozenset({"other"}))
    assert store.due_work([None], BOTH, BOTH) == DueWork(False)
    assert store.due_work([None, "local"], BOTH) == DueWork(False)
    make_suspect()
    create(store)
    assert store.due_work([None, "local"], ["job"], BOTH) == DueWork(True, frozenset(BOTH))
    assert store.due_work([None, "local"], [], ["job"]) == DueWork(False, frozenset({"job"}))


def test_a_suspect_that_succeeds_is_done_like_any_other_job(store, make_suspect):
    make_suspect()
    (claimed,) = claim_suspect(store).claimed

    assert store.succeed(claimed.claim, "1") is APPLIED

    assert row_of(store, claimed.claim.job_id).next_attempt_at is None


def test_a_suspect_that_fails_in_order_is_retried_as_an_ordinary_job(store, make_suspect):
    make_suspect()
    (claimed,) = claim_suspect(store).claimed

    store.retry(claimed.claim, "flaky", delay_seconds=0)

    (again,) = claim(store).claimed
    assert not again.is_suspect


def test_a_suspect_that_is_handed_over_stays_one(store, make_suspect, term):
    make_suspect()
    (claimed,) = claim_suspect(store).claimed
    candidate = to_recovery(store, claimed)
    assert candidate.is_suspect

    assert store.requeue(candidate, term, max_recoveries=1) is APPLIED

    assert claim(store).claimed == []
    assert len(claim_suspect(store).claimed) == 1


def test_a_suspect_that_is_reattached_stays_one(store, make_suspect, term):
    make_suspect()
    (claimed,) = claim_suspect(store).claimed
    again = store.reattach(to_recovery(store, claimed), "b", LEASE_SECONDS, term)

    assert store.abandon([again]) == 1

    (candidate,) = store.recovery_candidates()
    assert candidate.is_suspect


def test_the_last_crash_sets_a_suspect_aside(store, make_suspect, term):
    job_id = make_suspect()
    (claimed,) = claim_suspect(store).claimed

    store.requeue(to_recovery(store, claimed, lost=True), term, max_recoveries=1)

    row = row_of(store, job_id)
    assert JobStatus.from_int(row.status) is JobStatus.FAILED
    assert row.next_attempt_at is None


def test_a_retry_of_stock_mlflow_is_no_suspect(store):
    insert_raw(
        store,
        tables.jobs,
        id="stock",
        creation_time=1,
        job_name="job",
        params="{}",
        workspace="default",
        status=0,
        retry_count=2,
        last_update_time=0,
        next_attempt_at=1,
    )

    assert ids(claim(store)) == ["stock"]
