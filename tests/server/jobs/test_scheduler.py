"""One beat of a runner's part in the leadership."""

import pytest

from mlflow.server.jobs.periodic import Every, PeriodicTask, PeriodicTasks
from mlflow.server.jobs.scheduler import Scheduler
from mlflow.server.jobs.scheduler_lease import SchedulerLease
from mlflow.server.jobs.sweep import Sweep
from tests.server.jobs.fakes import pass_lease

TTL_SECONDS = 15.0
SWEEP_SECONDS = 5.0


@pytest.fixture
def ran():
    return []


@pytest.fixture
def led():
    return []


@pytest.fixture
def make_scheduler(job_store, clock, ran, led):
    def make(holder: str) -> Scheduler:
        task = PeriodicTask("task", Every(3600), lambda _: ran.append(holder))
        return Scheduler(
            SchedulerLease(job_store, clock, holder, TTL_SECONDS),
            Sweep(job_store),
            PeriodicTasks(job_store, clock, [task], lambda name, run: run()),
            clock,
            TTL_SECONDS,
            SWEEP_SECONDS,
            on_lead=lambda: led.append(holder),
        )

    return make


def pass_time(job_store, clock, seconds: float) -> None:
    job_store.clock_offset_ms += int(seconds * 1000)
    clock.advance(seconds)


def test_the_leader_sweeps_and_begins_what_is_due_and_a_follower_does_neither(
    job_store, claim_one, make_scheduler, ran, led
):
    claim_one()
    pass_lease(job_store)
    leader, follower = make_scheduler("a"), make_scheduler("b")
    leader.beat()
    follower.beat()
    assert job_store.recovery_candidates()
    assert (ran, led) == (["a"], ["a"])


def test_a_leader_goes_on_leading(job_store, clock, make_scheduler, led):
    leader, follower = make_scheduler("a"), make_scheduler("b")
    for _ in range(20):
        pass_time(job_store, clock, leader.beat())
        follower.beat()
    assert set(led) == {"a"}


def test_a_beat_comes_at_least_every_third_of_the_lease(make_scheduler):
    assert 0 < make_scheduler("a").beat() <= TTL_SECONDS / 3
    assert 0 < make_scheduler("b").beat() <= TTL_SECONDS / 3


def test_another_leads_within_one_lease_after_the_leader_stopped_beating(
    job_store, clock, make_scheduler, led
):
    make_scheduler("a").beat()
    follower, passed = make_scheduler("b"), 0.0
    while led[-1] != "b":
        pause = follower.beat()
        pass_time(job_store, clock, pause)
        passed += pause
        assert passed < TTL_SECONDS * 2
    assert passed <= TTL_SECONDS + TTL_SECONDS / 3


def test_a_clean_stop_hands_the_lease_over_at_once_and_for_good(
    job_store, clock, make_scheduler, led
):
    leader, follower = make_scheduler("a"), make_scheduler("b")
    leader.beat()
    leader.resign()
    pass_time(job_store, clock, TTL_SECONDS / 3)
    leader.beat()
    follower.beat()
    assert led == ["a", "b"]


def test_sweeps_are_no_more_frequent_than_their_interval(job_store, clock, make_scheduler, led):
    leader = make_scheduler("a")
    for _ in range(10):
        leader.beat()
        pass_time(job_store, clock, 1)
    assert len(led) == 2
