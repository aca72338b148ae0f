"""A runner stops by its own clock what it may no longer own."""

import pytest

from mlflow.server.jobs.owned_jobs import End, OwnedJob, OwnedJobs
from mlflow.server.jobs.self_fencing import SelfFencing
from mlflow.store.jobs.values import Claim

CLAIM = Claim("job-1", 3)


@pytest.fixture
def owned(clock):
    return OwnedJobs(clock)


@pytest.fixture
def job(owned, executor, clock):
    job = OwnedJob(CLAIM, "sample", executor, trust_until=clock.monotonic() + 50)
    owned.add(job)
    return job


@pytest.fixture
def said():
    """The instants until which this runner said that it can be trusted."""
    return []


@pytest.fixture
def fencing(owned, clock, said):
    return SelfFencing(owned, clock, 60.0, said.append)


def test_a_job_is_killed_when_its_lease_can_no_longer_be_trusted(fencing, job, executor, clock):
    clock.advance(49.9)
    fencing.beat()
    assert executor.canceled == []
    clock.advance(0.1)
    fencing.beat()
    assert executor.canceled == ["job-1"]
    assert job.end is End.LOST


def test_a_renewed_job_goes_on(fencing, owned, job, executor, clock):
    owned.trust([CLAIM], until=clock.monotonic() + 100)
    clock.advance(60)
    fencing.beat()
    assert executor.canceled == []


def test_a_backend_that_could_not_kill_is_asked_again_until_it_could(fencing, job, executor, clock):
    def refuse(_):
        raise ConnectionError("away")

    executor.on_cancel = refuse
    clock.advance(60)
    fencing.beat()
    executor.on_cancel = lambda _: None
    fencing.beat()
    fencing.beat()
    assert executor.canceled == ["job-1", "job-1"]


def test_a_lost_job_stays_lost_when_it_is_also_canceled(fencing, job, clock):
    clock.advance(60)
    fencing.beat()
    job.stop(End.CANCELED)
    job.stop(End.ABANDONED)
    assert job.end is End.LOST


def test_a_canceled_job_is_not_merely_abandoned_when_the_runner_stops(job):
    job.stop(End.CANCELED)
    job.stop(End.ABANDONED)
    assert job.end is End.CANCELED


def test_each_beat_says_until_when_all_jobs_can_be_trusted_and_no_longer_than_a_lease(
    fencing, said, job, clock
):
    began = clock.monotonic()
    fencing.beat()
    job.trust_until = began + 30
    fencing.beat()
    # Not for the sake of one that is lost, and killed, already.
    clock.advance(40)
    fencing.beat()
    assert said == [began + 50 + 5, began + 30 + 5, began + 40 + 50 + 5]


@pytest.mark.parametrize(("lease_seconds", "pause"), [(0.6, 0.05), (60.0, 1.0)])
def test_a_beat_comes_before_others_would_act_on_the_last_ones_word(
    owned, clock, said, lease_seconds, pause
):
    fencing = SelfFencing(owned, clock, lease_seconds, said.append)
    assert fencing.beat() == pytest.approx(pause)
    assert said[0] - clock.monotonic() == pytest.approx(lease_seconds * 11 / 12)
