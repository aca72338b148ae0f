"""After a full batch the next is discovered at once, by the leader."""

import pytest

from mlflow.server.jobs.next_batches import NextBatches
from mlflow.server.jobs.outcome import Fail, Succeed
from mlflow.server.jobs.scheduler_lease import SchedulerLease
from mlflow.store.jobs.errors import LeadershipLost
from mlflow.store.jobs.values import Claim, ClaimedJob


@pytest.fixture
def lease(job_store, clock):
    return SchedulerLease(job_store, clock, "a", 15.0)


@pytest.fixture
def discovered():
    return []


@pytest.fixture
def next_batches(lease, discovered):
    return NextBatches(
        lease,
        lambda term, workspace, experiment_id: discovered.append((workspace, experiment_id)),
        frozenset({"score"}),
        workspaces_enabled=True,
    )


def ended(job_name="score", experiment_id="7", full=True) -> ClaimedJob:
    params = {"experiment_id": experiment_id, "full": full}
    return ClaimedJob(Claim("job", 1), job_name, params, None, "team", None, None, 0, 0, None, None)


def test_the_leader_discovers_again_where_a_full_batch_succeeded(next_batches, lease, discovered):
    lease.acquire()
    assert next_batches.note(ended(), Succeed(None))
    assert next_batches.note(ended(), Succeed(None))
    next_batches.beat()
    next_batches.beat()
    assert discovered == [("team", "7")]


@pytest.mark.parametrize(
    ("job", "written"),
    [
        (ended(full=False), Succeed(None)),
        (ended(full="yes"), Succeed(None)),
        (ended(), Fail("broken")),
        (ended(), None),
        (ended(job_name="other"), Succeed(None)),
        (ended(experiment_id=7), Succeed(None)),
    ],
)
def test_nothing_else_is_discovered_before_the_next_pass(
    next_batches, lease, discovered, job, written
):
    lease.acquire()
    assert not next_batches.note(job, written)
    next_batches.beat()
    assert discovered == []


def test_a_follower_leaves_it_to_the_leader(next_batches, discovered):
    assert not next_batches.note(ended(), Succeed(None))
    next_batches.beat()
    assert discovered == []


def test_leadership_that_is_lost_on_the_way_is_no_failure(lease):
    def lost(*_):
        raise LeadershipLost("k", "a", 1)

    next_batches = NextBatches(lease, lost, frozenset({"score"}), workspaces_enabled=True)
    lease.acquire()
    next_batches.note(ended(), Succeed(None))
    assert next_batches.beat() is None
