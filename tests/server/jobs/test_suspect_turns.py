"""I11: a runner claims one suspect at a time, and none of them waits for ever beside other work."""

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.server.jobs.claimer import Claimer
from mlflow.server.jobs.owned_jobs import OwnedJob, OwnedJobs
from mlflow.server.jobs.pace import Pace
from mlflow.server.jobs.settings import JobSettings
from mlflow.store.jobs.values import Success
from tests.server.jobs.fakes import LEASE_SECONDS, RecordingLifecycle, ScriptedExecutor, reclaim

POLL_SECONDS = 5.0
SETTINGS = JobSettings(poll_interval=POLL_SECONDS, job_lease_ttl=LEASE_SECONDS)


@pytest.fixture
def owned(clock):
    return OwnedJobs(clock)


@pytest.fixture
def lifecycle(owned):
    return RecordingLifecycle(owned)


@pytest.fixture
def looks():
    return []


@pytest.fixture
def claimer(job_store, owned, lifecycle, clock, looks):
    return Claimer(
        job_store,
        owned,
        lifecycle,
        clock,
        SETTINGS,
        Pace(POLL_SECONDS),
        "a",
        {None, "local"},
        {"sample": 2, "other": 1},
        lambda *_: None,
        look_again=lambda: looks.append(True),
    )


@pytest.fixture
def make_suspect(job_store, make_pending, term):
    def make(name="sample", **creation) -> str:
        job_id = make_pending(name, **creation)
        claim = reclaim(job_store, name).claim
        job_store.abandon([claim], lost=True)
        [candidate] = job_store.recovery_candidates()
        job_store.requeue(candidate, term, max_recoveries=1)
        return job_id

    return make


def fill(make_pending, claimer, lifecycle):
    """All slots are taken by ordinary jobs, and more of each type wait."""
    for name in ("sample", "sample", "other", "sample", "other"):
        make_pending(name)
    claimer.beat()
    assert len(lifecycle.started) == 3


def suspects_of(lifecycle):
    return [job.claim for job in lifecycle.started if job.is_suspect]


def succeed(claimer, job):
    assert claimer.succeed_all([Success(job.claim, "1")])


def test_no_two_suspects_run_here_at_once(make_suspect, claimer, lifecycle, clock):
    suspects = [make_suspect(), make_suspect("other")]
    for _ in range(3):
        claimer.beat()
        clock.advance(POLL_SECONDS)
    [claim] = suspects_of(lifecycle)
    assert claim.job_id == suspects[0]


def test_a_suspect_runs_beside_ordinary_jobs_within_the_slots_of_its_type(
    make_suspect, make_pending, claimer, lifecycle, owned
):
    suspect = make_suspect()
    for _ in range(3):
        make_pending()
    claimer.beat()
    assert lifecycle.started[0].claim.job_id == suspect
    assert owned.running_by_name() == {"sample": 2}


def test_the_next_suspect_is_claimed_as_soon_as_one_has_ended(
    make_suspect, claimer, lifecycle, owned
):
    suspects = [make_suspect(), make_suspect()]
    claimer.beat()
    owned.remove(suspects_of(lifecycle)[0])
    claimer.beat()
    assert [claim.job_id for claim in suspects_of(lifecycle)] == suspects


def test_the_next_suspect_is_looked_for_when_one_has_succeeded(
    job_store, make_suspect, claimer, lifecycle, looks
):
    suspects = [make_suspect(), make_suspect()]
    claimer.beat()
    succeed(claimer, lifecycle.started[0])
    assert looks == [True]
    claimer.beat()
    assert [claim.job_id for claim in suspects_of(lifecycle)] == suspects
    assert job_store.get_job(suspects[0]).status is JobStatus.SUCCEEDED


def test_an_idle_runner_finds_a_suspect_by_its_poll(make_suspect, claimer, lifecycle, clock):
    pause = claimer.beat()
    make_suspect()
    clock.advance(pause * 0.9)
    claimer.beat()
    assert len(suspects_of(lifecycle)) == 1


def test_a_poll_asks_for_suspects_and_others_with_one_look(job_store, claimer, clock, monkeypatch):
    claimer.beat()
    clock.advance(POLL_SECONDS)
    due_work, asked = job_store.due_work, []

    def recorded(backends, names, suspect_names):
        asked.append((sorted(names), sorted(suspect_names)))
        return due_work(backends, names, suspect_names)

    monkeypatch.setattr(job_store, "due_work", recorded)
    for name in ("claim_batch", "claim_suspect"):
        monkeypatch.setattr(job_store, name, None)
    claimer.beat()
    assert asked == [(["other", "sample"], ["other", "sample"])]


def test_a_runner_that_is_woken_all_the_time_gives_suspects_their_turn(
    make_suspect, claimer, lifecycle, clock
):
    claimer.beat()
    make_suspect()
    for _ in range(4):
        clock.advance(POLL_SECONDS / 4)
        claimer.beat()
    assert len(suspects_of(lifecycle)) == 1


def test_a_runner_whose_slots_are_filled_with_each_success_gives_suspects_their_turn(
    make_suspect, make_pending, claimer, lifecycle, looks, clock
):
    claimer.beat()
    suspect = make_suspect("other")
    fill(make_pending, claimer, lifecycle)
    started = {job.job_name: job for job in lifecycle.started}
    clock.advance(POLL_SECONDS)

    # A slot of another type: the suspect is met, and has none.
    succeed(claimer, started["sample"])
    assert looks == [True]
    claimer.beat()
    assert suspects_of(lifecycle) == []
    # One of its own type, long before the next poll.
    succeed(claimer, started["other"])
    assert looks == [True, True]
    claimer.beat()
    assert [claim.job_id for claim in suspects_of(lifecycle)] == [suspect]


def test_successes_share_their_transaction_with_a_claim_between_two_looks(
    job_store, make_pending, claimer, lifecycle, looks
):
    fill(make_pending, claimer, lifecycle)
    succeed(claimer, lifecycle.started[0])
    assert looks == []
    assert len(lifecycle.started) == 4


def test_a_suspect_that_another_runner_took_first_holds_up_nobody(
    job_store, make_suspect, make_pending, claimer, lifecycle, monkeypatch
):
    make_suspect()
    make_pending()
    claim_suspect = job_store.claim_suspect

    def late(*args, **kwargs):
        claim_suspect("b", {None}, ["sample"], LEASE_SECONDS, lambda *_: None)
        return claim_suspect(*args, **kwargs)

    monkeypatch.setattr(job_store, "claim_suspect", late)
    assert claimer.beat() == POLL_SECONDS
    assert [job.is_suspect for job in lifecycle.started] == [False]


def test_it_looks_again_at_once_when_a_suspect_s_lock_is_held(
    job_store, make_suspect, make_pending, claimer, lifecycle, owned
):
    blocked, next_one = make_suspect(lock_key="k"), make_suspect()
    make_pending("other", lock_key="k")
    reclaim(job_store, "other", "b")
    assert claimer.beat() == 0.0
    assert job_store.get_job(blocked).status is JobStatus.CANCELED
    claimer.beat()
    assert [claim.job_id for claim in suspects_of(lifecycle)] == [next_one]


def test_a_reattached_suspect_is_one_that_runs_here(
    job_store, make_suspect, claimer, lifecycle, owned, clock
):
    make_suspect()
    [reattached] = job_store.claim_suspect(
        "a", {None}, ["sample"], LEASE_SECONDS, lambda *_: None
    ).claimed
    owned.add(OwnedJob(reattached.claim, "sample", ScriptedExecutor(), 0.0, is_suspect=True))
    make_suspect("other")
    claimer.beat()
    assert suspects_of(lifecycle) == []


def test_a_draining_claimer_takes_no_suspect(job_store, make_suspect, claimer):
    suspect = make_suspect()
    claimer.drain()
    claimer.beat()
    assert job_store.get_job(suspect).status is JobStatus.PENDING
