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
def fencing(owned, clock):
    return SelfFencing(owned, clock, beat_seconds=1.0)


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
