"""A runner stops by its own clock what it may no longer own."""

import math
import threading

import pytest

from mlflow.server.jobs.owned_jobs import End, OwnedJob, OwnedJobs
from mlflow.server.jobs.self_fencing import SelfFencing
from mlflow.server.jobs.trust import trust_deadline, watchdog_grace
from mlflow.store.jobs.values import Claim
from tests.server.jobs.fakes import PATIENCE_SECONDS, HangingExecutor

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


@pytest.fixture
def told():
    return []


@pytest.fixture
def watched(owned, clock, told):
    return SelfFencing(
        owned,
        clock,
        beat_seconds=5.0,
        grace_seconds=watchdog_grace(60.0),
        expect_sign_by=told.append,
    )


def test_the_watchdog_acts_after_self_fencing_and_before_the_lease_ends(
    watched, owned, executor, clock, told
):
    asked_at = clock.monotonic()
    owned.add(OwnedJob(CLAIM, "sample", executor, trust_deadline(asked_at, 60.0)))
    assert trust_deadline(asked_at, 60.0) < told[-1] < asked_at + 60.0


def test_the_watchdog_is_told_of_a_job_before_the_next_beat(watched, owned, executor, clock, told):
    owned.add(OwnedJob(CLAIM, "sample", executor, clock.monotonic() + 50))
    assert told == [clock.monotonic() + 55]


def test_a_claim_whose_answer_came_too_late_is_lost_and_costs_the_runner_nothing(
    watched, owned, executor, clock, told
):
    late = OwnedJob(CLAIM, "sample", executor, clock.monotonic() - 20)
    owned.add(late)
    assert late.end is End.LOST
    assert told == []


def test_the_watchdog_is_told_at_once_only_of_what_it_would_come_too_late_for(
    watched, owned, executor, clock, told
):
    begun_at = clock.monotonic()
    for fence, seconds in ((1, 50), (2, 40), (3, 45)):
        owned.add(OwnedJob(Claim("job", fence), "sample", executor, begun_at + seconds))
    owned.remove(Claim("job", 2))
    assert told == [begun_at + 55, begun_at + 45]
    watched.beat()
    assert told[-1] == begun_at + 50


def test_the_watchdog_expects_the_first_of_all_deadlines(watched, owned, executor, clock, told):
    for fence, seconds in ((1, 50), (2, 40), (3, 45)):
        owned.add(OwnedJob(Claim("job", fence), "sample", executor, clock.monotonic() + seconds))
    watched.beat()
    assert told[-1] == clock.monotonic() + 45


def test_a_beat_that_stopped_what_was_due_is_the_sign_that_was_expected(
    watched, owned, job, clock, told
):
    clock.advance(50)
    watched.beat()
    assert job.end is End.LOST
    assert told[-1] == math.inf


@pytest.fixture
def hanging():
    executor = HangingExecutor()
    yield executor
    executor.answers.set()


@pytest.mark.parametrize("end", [End.CANCELED, End.LOST])
def test_a_backend_that_does_not_answer_keeps_nobody_from_the_other_jobs(
    watched, owned, executor, hanging, clock, told, end
):
    held = OwnedJob(Claim("held", 1), "sample", hanging, clock.monotonic() + 100)
    other = OwnedJob(Claim("other", 1), "sample", executor, clock.monotonic() + 50)
    owned.add(held)
    owned.add(other)
    held.stop(end)
    assert hanging.is_asked.wait(PATIENCE_SECONDS)
    clock.advance(50)
    watched.beat()
    watched.beat()
    assert executor.canceled == ["other"]
    # One question at a time, and still no answer.
    assert hanging.canceled == ["held"]
    assert not hanging.has_canceled.is_set()
    assert told[-1] == (math.inf if end is End.LOST else clock.monotonic() + 55)


def test_a_kill_that_is_wanted_again_meanwhile_follows_the_first(hanging, clock):
    job = OwnedJob(CLAIM, "sample", hanging, clock.monotonic() + 50)
    repeated = threading.Event()

    def answer(_):
        if len(hanging.canceled) == 1:
            hanging.answers.wait(PATIENCE_SECONDS)
        else:
            repeated.set()

    hanging.on_cancel = answer
    job.stop(End.CANCELED)
    job.kill_again()
    assert not repeated.is_set()
    hanging.answers.set()
    assert repeated.wait(PATIENCE_SECONDS)
    assert hanging.canceled == ["job-1", "job-1"]


def test_the_next_beat_comes_no_later_than_the_first_deadline(watched, owned, job, clock):
    assert watched.beat() == 5.0
    clock.advance(48)
    assert watched.beat() == 2.0


def test_a_runner_without_jobs_is_expected_to_do_nothing(watched, told):
    watched.beat()
    assert told == [math.inf]


def test_a_runner_without_jobs_looks_seldom_until_it_has_one(owned, executor, clock):
    woken = []
    fencing = SelfFencing(owned, clock, beat_seconds=1.0, wake=lambda: woken.append(True))
    assert fencing.beat() > 30
    owned.add(OwnedJob(CLAIM, "sample", executor, clock.monotonic() + 50))
    assert woken == [True]
    assert fencing.beat() == 1.0
    owned.add(OwnedJob(Claim("job-2", 1), "sample", executor, clock.monotonic() + 50))
    assert woken == [True]


def test_a_job_that_comes_while_nothing_is_found_wakes_as_well(owned, executor, clock):
    woken, coming = [], [OwnedJob(CLAIM, "sample", executor, clock.monotonic() + 50)]

    def see(instant):
        # Told once nothing was found, and before the beat ends.
        while coming:
            owned.add(coming.pop())

    fencing = SelfFencing(owned, clock, 1.0, expect_sign_by=see, wake=lambda: woken.append(True))
    fencing._telling = threading.RLock()
    fencing.beat()
    assert woken == [True]
