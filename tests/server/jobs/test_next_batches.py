"""After a full batch the next is discovered at once, by the leader, wherever the job ran."""

import pytest

from mlflow.server.jobs.next_batches import NextBatches, is_full_batch
from mlflow.server.jobs.outcome import Fail, Succeed
from mlflow.server.jobs.pace import Pace
from mlflow.server.jobs.scheduler_lease import SchedulerLease
from mlflow.store.jobs.errors import LeadershipLost
from mlflow.store.jobs.values import Claim, ClaimedJob
from tests.server.jobs.fakes import pass_lease

FULL = {"experiment_id": "7", "full": True}


@pytest.fixture
def lease(job_store, clock):
    return SchedulerLease(job_store, clock, "a", 15.0)


@pytest.fixture
def discovered():
    return []


@pytest.fixture
def make_next_batches(job_store, lease, discovered):
    def make(hears_all=True, on_expected=lambda: None):
        return NextBatches(
            job_store,
            lease,
            lambda term, workspace, experiment_id: discovered.append((workspace, experiment_id)),
            Pace(None, lambda: hears_all),
            on_expected,
        )

    return make


@pytest.fixture
def next_batches(make_next_batches, lease):
    lease.acquire()
    return make_next_batches()


def ended(job_name="score", full=True) -> ClaimedJob:
    params = {"experiment_id": "7", "full": full}
    return ClaimedJob(Claim("job", 1), job_name, params, None, "team", None, None, 0, 0, None, None)


def test_the_leader_discovers_again_where_a_full_batch_succeeded_anywhere(
    job_store, next_batches, claim_one, discovered
):
    job = claim_one()
    next_batches.expect(job.claim.job_id, "team", FULL)
    next_batches.beat()
    assert discovered == []
    job_store.succeed(job.claim, "1")
    next_batches.beat()
    next_batches.beat()
    assert discovered == [("team", "7")]


def test_it_does_not_where_the_batch_failed_or_is_gone(
    job_store, next_batches, claim_one, discovered, monkeypatch
):
    failed, gone = claim_one(), claim_one("other")
    for job in (failed, gone):
        next_batches.expect(job.claim.job_id, "team", FULL)
    job_store.fail(failed.claim, "broken")
    job_store.cancel_job(gone.claim.job_id)
    pass_lease(job_store)
    job_store.delete_jobs(job_ids=[gone.claim.job_id])
    next_batches.beat()
    assert discovered == []
    monkeypatch.setattr(job_store, "statuses", None)
    next_batches.beat()


def test_a_job_that_is_run_again_is_still_waited_for(
    job_store, next_batches, claim_one, discovered
):
    job = claim_one()
    next_batches.expect(job.claim.job_id, None, FULL)
    job_store.retry(job.claim, "away", 0.0)
    next_batches.beat()
    assert discovered == []
    [again] = job_store.claim_batch("b", [None], {"sample": 1}, 60.0, lambda *_: None).claimed
    job_store.succeed(again.claim, "1")
    next_batches.beat()
    assert discovered == [(None, "7")]


@pytest.mark.parametrize("params", [{**FULL, "full": False}, {**FULL, "full": "yes"}, {}])
def test_nothing_else_is_waited_for(next_batches, job_store, params, monkeypatch):
    next_batches.expect("job", None, params)
    monkeypatch.setattr(job_store, "statuses", None)
    assert next_batches.beat() is None


def test_while_a_full_batch_runs_it_is_looked_for_only_where_nobody_would_tell(
    make_next_batches, lease, make_pending
):
    lease.acquire()
    for hears_all in (True, False):
        waiting = make_next_batches(hears_all)
        assert waiting.beat() is None
        waiting.expect(make_pending(), None, FULL)
        assert (waiting.beat() is None) is hears_all


def test_who_leads_no_more_waits_for_nothing(
    job_store, clock, lease, next_batches, claim_one, discovered
):
    job = claim_one()
    next_batches.expect(job.claim.job_id, None, FULL)
    job_store.succeed(job.claim, "1")
    clock.advance(60)
    assert next_batches.beat() is None
    pass_lease(job_store)
    lease.acquire()
    next_batches.beat()
    assert discovered == []


def test_leadership_that_is_lost_on_the_way_is_no_failure(job_store, lease, claim_one):
    def lost(*_):
        raise LeadershipLost("k", "a", 1)

    next_batches = NextBatches(job_store, lease, lost, Pace(None))
    lease.acquire()
    job = claim_one()
    next_batches.expect(job.claim.job_id, None, FULL)
    job_store.succeed(job.claim, "1")
    assert next_batches.beat() is None


@pytest.mark.parametrize(
    ("job", "written", "is_one"),
    [
        (ended(), Succeed(None), True),
        (ended(full=False), Succeed(None), False),
        (ended(full="yes"), Succeed(None), False),
        (ended(), Fail("broken"), False),
        (ended(), None, False),
        (ended(job_name="other"), Succeed(None), False),
    ],
)
def test_the_leader_is_told_of_full_batches_that_succeeded_only(job, written, is_one):
    assert is_full_batch(job, written, frozenset({"score"})) is is_one
