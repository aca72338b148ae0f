"""One beat of a runner's part in the leadership."""

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.server.jobs.periodic import Every, PeriodicTask, PeriodicTasks
from mlflow.server.jobs.scheduler import Scheduler, renewal_seconds, sweep_seconds
from mlflow.server.jobs.scheduler_lease import SchedulerLease
from mlflow.server.jobs.settings import JobSettings
from mlflow.server.jobs.sweep import Sweep
from mlflow.store.jobs.errors import JobStoreUnavailable
from tests.server.jobs.fakes import LEASE_SECONDS, pass_lease

TTL_SECONDS = 15.0
SWEEP_SECONDS = 1.0
RENEWAL_SECONDS = renewal_seconds(TTL_SECONDS)


@pytest.fixture
def ran():
    return []


@pytest.fixture
def led():
    return []


@pytest.fixture
def make_scheduler(job_store, clock, ran, led):
    def make(holder: str, hears_all: bool = False) -> Scheduler:
        task = PeriodicTask("task", Every(3600), lambda _: ran.append(holder))
        return Scheduler(
            SchedulerLease(job_store, clock, holder, TTL_SECONDS),
            Sweep(job_store),
            PeriodicTasks(job_store, clock, [task], lambda name, run: run()),
            clock,
            TTL_SECONDS,
            LEASE_SECONDS,
            SWEEP_SECONDS,
            on_recovery=lambda: led.append(holder),
            hears_all=lambda: hears_all,
        )

    return make


@pytest.fixture
def make_scheduler_of(job_store, clock):
    """A scheduler with the times that a server with these settings has."""

    def make(holder: str, settings: JobSettings, hears_all: bool) -> Scheduler:
        return Scheduler(
            SchedulerLease(job_store, clock, holder, settings.scheduler_lease_ttl),
            Sweep(job_store),
            PeriodicTasks(job_store, clock, [], lambda name, run: run()),
            clock,
            settings.scheduler_lease_ttl,
            settings.job_lease_ttl,
            sweep_seconds(settings.job_lease_ttl),
            on_recovery=lambda: None,
            hears_all=lambda: hears_all,
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


def test_a_leader_goes_on_leading(job_store, clock, make_scheduler, ran):
    leader, follower = make_scheduler("a"), make_scheduler("b")
    for _ in range(20):
        pass_time(job_store, clock, leader.beat())
        follower.beat()
    assert set(ran) == {"a"}


@pytest.mark.parametrize("ttl", [1.0, 2.0, 9.0, 15.0, 60.0])
def test_a_renewal_that_fails_can_be_repeated_before_the_lease_is_gone(ttl):
    assert ttl / 3 <= renewal_seconds(ttl) <= ttl * 0.6
    assert ttl - renewal_seconds(ttl) >= min(6.0, ttl / 2)


@pytest.mark.parametrize("hears_all", [False, True])
def test_a_follower_looks_when_the_lease_may_be_free_and_sooner_where_nobody_would_tell(
    make_scheduler, hears_all
):
    make_scheduler("a").beat()
    pause = make_scheduler("b", hears_all).beat()
    assert 0 < pause <= (TTL_SECONDS if hears_all else TTL_SECONDS / 3)
    assert (pause > TTL_SECONDS / 3) is hears_all


def test_a_failed_renewal_is_repeated_in_the_next_beat(job_store, clock, make_scheduler):
    leader = make_scheduler("a")
    leader.beat()
    pass_time(job_store, clock, TTL_SECONDS / 3)
    lead, refused = job_store.lead, []

    def refuse(*_):
        refused.append(1)
        raise JobStoreUnavailable("away")

    job_store.lead = refuse
    for _ in range(2):
        with pytest.raises(JobStoreUnavailable):
            leader.beat()
    assert len(refused) == 2
    job_store.lead = lead
    leader.beat()


@pytest.mark.parametrize("hears_all", [False, True])
def test_another_leads_within_one_lease_after_the_leader_stopped_beating(
    job_store, clock, make_scheduler, led, hears_all
):
    make_scheduler("a").beat()
    follower, passed = make_scheduler("b", hears_all), 0.0
    while True:
        pause = follower.beat()
        if "b" in led:
            break
        pass_time(job_store, clock, pause)
        passed += pause
        assert passed <= TTL_SECONDS + 0.1


def test_a_clean_stop_hands_the_lease_over_at_once_and_for_good(
    job_store, clock, make_scheduler, led
):
    leader, follower = make_scheduler("a"), make_scheduler("b", hears_all=True)
    leader.beat()
    follower.beat()
    leader.resign()
    follower.beat()
    assert led == ["a"]
    follower.look()
    leader.look()
    leader.beat()
    follower.beat()
    assert led == ["a", "b"]


def test_where_nobody_tells_of_a_clean_stop_it_is_found_within_a_third_of_the_lease(
    job_store, clock, make_scheduler, led
):
    leader, follower = make_scheduler("a"), make_scheduler("b")
    leader.beat()
    pause = follower.beat()
    leader.resign()
    pass_time(job_store, clock, pause)
    follower.beat()
    assert led == ["a", "b"]


def test_a_new_leader_sweeps_at_once_and_not_again_while_nothing_runs(
    job_store, clock, make_scheduler, monkeypatch
):
    sweeps = count_sweeps(job_store, monkeypatch)
    leader = make_scheduler("a")
    for _ in range(50):
        pass_time(job_store, clock, leader.beat())
    assert len(sweeps) == 1


def test_no_sweep_comes_while_leases_are_renewed(
    job_store, clock, make_scheduler, claim_one, monkeypatch
):
    sweeps = count_sweeps(job_store, monkeypatch)
    job, leader = claim_one(), make_scheduler("a")
    for _ in range(50):
        pass_time(job_store, clock, leader.beat())
        job_store.renew([job.claim], LEASE_SECONDS)
    assert len(sweeps) == 1


@pytest.mark.parametrize("claimed_after_beats", [0, 1, 2, 5])
def test_a_job_whose_runner_dies_is_swept_as_soon_as_its_lease_has_run_out(
    job_store, clock, make_scheduler, claim_one, claimed_after_beats
):
    """I3, whenever the leader has looked last."""
    leader, passed = make_scheduler("a"), 0.0
    for _ in range(claimed_after_beats):
        pass_time(job_store, clock, leader.beat())
    job = claim_one()
    while job_store.get_job(job.claim.job_id).status is JobStatus.RUNNING:
        pause = leader.beat()
        pass_time(job_store, clock, pause)
        passed += pause
        assert passed < LEASE_SECONDS + 2 * TTL_SECONDS
    # The database's own time goes on as well, so that it may come sooner here, never later.
    assert LEASE_SECONDS / 2 <= passed - pause <= LEASE_SECONDS + SWEEP_SECONDS + 0.1


RECOVERY_SECONDS = 2.0


@pytest.mark.parametrize("hears_all", [False, True])
@pytest.mark.parametrize("dead_led", [False, True])
@pytest.mark.parametrize("lease_seconds", [0.6, 5.0, 60.0])
def test_a_job_of_a_dead_runner_is_swept_well_within_its_lease_and_two_seconds(
    job_store, clock, make_pending, make_scheduler_of, lease_seconds, dead_led, hears_all
):
    """I3, also where another has to lead first, and though other jobs were swept just before."""
    settings = JobSettings.from_env({"MLFLOW_SERVER_JOB_LEASE_TTL": str(lease_seconds)})
    dead, alive = (make_scheduler_of(name, settings, hears_all) for name in ("dead", "alive"))
    (dead if dead_led else alive).beat()
    alive.beat()
    claimed = []
    for _ in range(3):
        make_pending()
        claimed += job_store.claim_batch(
            "dead", [None], {"sample": 1}, lease_seconds, lambda *_: None
        ).claimed
        pass_time(job_store, clock, 0.1)
    last, passed = claimed[-1].claim.job_id, 0.0
    while job_store.get_job(last).status is JobStatus.RUNNING:
        pause = max(alive.beat(), 0.001)
        pass_time(job_store, clock, pause)
        passed += pause
        assert passed < lease_seconds + 2 * RECOVERY_SECONDS
    assert passed - pause <= lease_seconds + RECOVERY_SECONDS / 2


def test_a_second_job_is_swept_as_soon_as_its_own_lease_has_run_out(
    job_store, clock, make_scheduler, claim_one
):
    """I3, though the leader sees only the first of all leases."""
    leader = make_scheduler("a")
    claim_one("sample")
    pass_time(job_store, clock, 3)
    second = claim_one("other")
    passed = 0.0
    while job_store.get_job(second.claim.job_id).status is JobStatus.RUNNING:
        pause = leader.beat()
        pass_time(job_store, clock, pause)
        passed += pause
        assert passed < 2 * LEASE_SECONDS
    assert passed - pause <= LEASE_SECONDS + SWEEP_SECONDS + 0.5


def test_a_job_with_a_shorter_lease_than_ours_is_found_by_the_next_renewal(
    job_store, clock, make_scheduler, make_pending
):
    leader = make_scheduler("a")
    for _ in range(3):
        leader.beat()
        pass_time(job_store, clock, RENEWAL_SECONDS)
    make_pending()
    [job] = job_store.claim_batch("b", [None], {"sample": 1}, 0.6, lambda *_: None).claimed
    leader.beat()
    pass_time(job_store, clock, RENEWAL_SECONDS)
    leader.beat()
    pass_time(job_store, clock, SWEEP_SECONDS)
    leader.beat()
    assert job_store.get_job(job.claim.job_id).status is JobStatus.NEEDS_RECOVERY


def test_what_cannot_be_swept_does_not_make_sweeps_frequent(
    job_store, clock, make_scheduler, claim_one, monkeypatch
):
    claim_one()
    pass_lease(job_store)
    leader, began = make_scheduler("a"), clock.monotonic()
    sweeps = []
    monkeypatch.setattr(job_store, "sweep", lambda *_, **__: sweeps.append(1) or 0)
    for _ in range(20):
        pass_time(job_store, clock, max(leader.beat(), 0.001))
    assert len(sweeps) <= (clock.monotonic() - began) / SWEEP_SECONDS + 2


def test_what_a_sweep_had_to_leave_is_swept_soon_though_no_other_lease_ends(
    job_store, clock, make_scheduler, claim_one, monkeypatch
):
    """As a row that somebody keeps locked."""
    job = claim_one()
    pass_lease(job_store)
    leader, began = make_scheduler("a"), clock.monotonic()
    sweep = job_store.sweep
    monkeypatch.setattr(job_store, "sweep", lambda *_, **__: 0)
    pass_time(job_store, clock, leader.beat())
    monkeypatch.setattr(job_store, "sweep", sweep)
    while job_store.get_job(job.claim.job_id).status is JobStatus.RUNNING:
        pass_time(job_store, clock, max(leader.beat(), 0.001))
        assert clock.monotonic() - began <= 2 * SWEEP_SECONDS


def test_a_job_left_to_recovery_is_heard_of_at_once_when_told_and_else_with_the_next_renewal(
    job_store, clock, make_scheduler, claim_one, led
):
    leader = make_scheduler("a")
    leader.beat()
    pass_time(job_store, clock, RENEWAL_SECONDS)
    leader.beat()
    led.clear()
    job_store.abandon([claim_one().claim])
    leader.beat()
    assert led == []
    leader.look()
    leader.beat()
    assert led == ["a"]
    pass_time(job_store, clock, RENEWAL_SECONDS)
    leader.beat()
    assert led == ["a", "a"]


def count_sweeps(job_store, monkeypatch) -> list:
    sweeps, sweep = [], job_store.sweep
    monkeypatch.setattr(
        job_store, "sweep", lambda *args, **kwargs: sweeps.append(1) or sweep(*args, **kwargs)
    )
    return sweeps
