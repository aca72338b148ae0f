"""The claimer takes what fits, starts it, and looks again when something may be due."""

import threading

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.server.jobs.claim_fronts import WHOLE_SECONDS
from mlflow.server.jobs.claimer import Claimer
from mlflow.server.jobs.owned_jobs import OwnedJob, OwnedJobs
from mlflow.server.jobs.pace import Pace
from mlflow.server.jobs.settings import JobSettings
from mlflow.store.jobs.values import Success
from tests.server.jobs.fakes import PATIENCE_SECONDS, RecordingLifecycle, ScriptedExecutor
from tests.store.jobs.store_factories import change_raw

SETTINGS = JobSettings(poll_interval=5.0, job_lease_ttl=60.0)


@pytest.fixture
def owned(clock):
    return OwnedJobs(clock)


@pytest.fixture
def lifecycle(owned):
    return RecordingLifecycle(owned)


@pytest.fixture
def make_claimer(job_store, owned, lifecycle, clock):
    def make(**others) -> Claimer:
        return Claimer(
            job_store,
            owned,
            lifecycle,
            clock,
            SETTINGS,
            Pace(SETTINGS.poll_interval),
            "a",
            {None, "local"},
            {"sample": 2, "other": 1},
            lambda *_: None,
            **others,
        )

    return make


@pytest.fixture
def claimer(make_claimer):
    return make_claimer()


def test_as_many_jobs_as_fit_are_started_and_the_others_wait(
    job_store, make_pending, claimer, lifecycle, owned
):
    ids = [make_pending() for _ in range(3)] + [make_pending("other")]
    claimer.beat()
    assert {job.claim.job_id for job in lifecycle.started} == {ids[0], ids[1], ids[3]}
    claimer.beat()
    assert len(lifecycle.started) == 3
    owned.remove(lifecycle.started[0].claim)
    claimer.beat()
    assert lifecycle.started[3].claim.job_id == ids[2]


def test_a_claim_that_finds_nothing_owns_nothing(claimer, owned):
    claimer.beat()
    owned.add()
    assert owned.wait_until_empty(0)


def test_without_a_free_slot_no_statement_is_sent(
    job_store, make_pending, claimer, lifecycle, monkeypatch
):
    for name in ("sample", "sample", "other"):
        make_pending(name)
    claimer.beat()

    def refuse(*_, **__):
        raise AssertionError("a statement was sent")

    monkeypatch.setattr(job_store, "claim_batch", refuse)
    assert claimer.beat() == SETTINGS.poll_interval


def test_jobs_of_backends_that_are_not_served_here_are_left(job_store, make_pending, claimer):
    elsewhere = make_pending(executor_backend="ray")
    claimer.beat()
    assert job_store.get_job(elsewhere).status is JobStatus.PENDING


def test_a_started_job_is_trusted_from_before_it_was_claimed(
    job_store, make_pending, claimer, owned, clock, monkeypatch
):
    make_pending()
    claim_batch, asked_at = job_store.claim_batch, clock.monotonic()

    def slow(*args, **kwargs):
        clock.advance(30)
        return claim_batch(*args, **kwargs)

    monkeypatch.setattr(job_store, "claim_batch", slow)
    claimer.beat()
    [job] = owned.all()
    assert asked_at < job.trust_until < asked_at + SETTINGS.job_lease_ttl


def test_idle_it_looks_again_after_the_poll_interval(claimer):
    assert claimer.beat() == SETTINGS.poll_interval


def refuse(*_, **__):
    raise AssertionError("a claim was tried")


def test_a_poll_that_finds_nothing_is_no_claim(job_store, claimer, clock, monkeypatch):
    claimer.beat()
    monkeypatch.setattr(job_store, "claim_batch", refuse)
    clock.advance(SETTINGS.poll_interval)
    assert claimer.beat() == SETTINGS.poll_interval


def test_a_lost_wake_up_costs_one_poll(job_store, make_pending, claimer, lifecycle, clock):
    pause = claimer.beat()
    make_pending()
    clock.advance(pause)
    claimer.beat()
    assert len(lifecycle.started) == 1


def test_a_wake_up_claims_without_looking_first(
    job_store, make_pending, claimer, lifecycle, clock, monkeypatch
):
    claimer.beat()
    make_pending()
    clock.advance(SETTINGS.poll_interval / 2)
    monkeypatch.setattr(job_store, "due_work", refuse)
    claimer.beat()
    assert len(lifecycle.started) == 1


def test_it_looks_again_when_a_retry_of_its_own_is_due(claimer, clock):
    claimer.expect_retry(2.0)
    claimer.expect_retry(1.0)
    assert 1.0 <= claimer.beat() < 1.2
    clock.advance(1.5)
    assert 0.5 <= claimer.beat() < 0.7
    clock.advance(1.5)
    assert claimer.beat() == SETTINGS.poll_interval


def test_it_looks_again_at_once_when_a_slot_went_to_a_job_whose_lock_is_held(
    job_store, make_pending, claimer, lifecycle
):
    make_pending("other", lock_key="k", timeout=60.0)
    claimer.beat()
    blocked = make_pending("sample", lock_key="k", timeout=60.0)
    assert claimer.beat() == 0.0
    assert job_store.get_job(blocked).status is JobStatus.CANCELED
    assert len(lifecycle.started) == 1


def test_a_job_that_no_thread_could_be_started_for_is_left_to_recovery(
    job_store, make_pending, claimer, lifecycle
):
    job_id = make_pending()
    lifecycle.has_threads = False
    claimer.beat()
    assert job_store.get_job(job_id).status is JobStatus.NEEDS_RECOVERY


def test_a_success_frees_its_slot_and_the_claim_for_it_shares_its_transaction(
    job_store, make_pending, claimer, lifecycle, owned, monkeypatch
):
    ids = [make_pending() for _ in range(3)]
    claimer.beat()
    monkeypatch.setattr(job_store, "succeed_all", refuse)
    first = lifecycle.started[0].claim

    assert claimer.succeed_all([Success(first, "1")])

    assert job_store.get_job(first.job_id).status is JobStatus.SUCCEEDED
    assert [job.claim.job_id for job in lifecycle.started] == ids
    assert owned.running_by_name() == {"sample": 2}


def test_successes_are_written_without_a_claim_where_the_last_one_took_all(
    job_store, make_pending, claimer, lifecycle, owned, monkeypatch
):
    make_pending()
    claimer.beat()
    monkeypatch.setattr(job_store, "claim_batch", refuse)
    assert claimer.succeed_all([Success(lifecycle.started[0].claim, "1")])
    assert owned.running_by_name() == {}


def test_work_that_was_announced_while_no_slot_was_free_is_claimed_with_the_next_success(
    job_store, make_pending, claimer, lifecycle, owned
):
    claimer.beat()
    reattached = []
    for _ in range(2):
        make_pending()
        [job] = job_store.claim_batch("a", {None}, {"sample": 1}, 60.0, lambda *_: None).claimed
        reattached.append(job.claim)
        owned.add(OwnedJob(job.claim, job.job_name, ScriptedExecutor(), 0.0))
    waiting = make_pending()
    claimer.beat()
    assert lifecycle.started == []
    assert claimer.succeed_all([Success(reattached[0], "1")])
    assert [job.claim.job_id for job in lifecycle.started] == [waiting]


def test_successes_of_which_one_is_refused_change_nothing_and_claim_nothing(
    job_store, make_pending, claimer, lifecycle, owned
):
    for _ in range(3):
        make_pending()
    claimer.beat()
    kept, lost = (job.claim for job in lifecycle.started)
    job_store.cancel_job(lost.job_id)
    assert not claimer.succeed_all([Success(kept, "1"), Success(lost, "1")])
    assert job_store.get_job(kept.job_id).status is JobStatus.RUNNING
    assert len(lifecycle.started) == 2
    assert owned.running_by_name() == {"sample": 2}


def test_a_success_does_not_wait_for_a_claim_that_is_under_way(
    job_store, make_pending, make_claimer, lifecycle, owned, monkeypatch
):
    make_pending()
    looks = []
    claimer = make_claimer(look_again=lambda: looks.append(True))
    claimer.beat()
    first = lifecycle.started[0].claim
    claim_batch, written = job_store.claim_batch, []

    def slow(*args, **kwargs):
        thread = threading.Thread(
            target=lambda: written.append(claimer.succeed_all([Success(first, "1")])), name="end"
        )
        thread.start()
        thread.join(PATIENCE_SECONDS)
        return claim_batch(*args, **kwargs)

    monkeypatch.setattr(job_store, "claim_batch", slow)
    claimer.beat()
    assert written == [True]
    assert looks == [True]
    assert owned.running_by_name() == {}


def test_a_draining_claimer_writes_successes_and_claims_nothing(
    job_store, make_pending, claimer, lifecycle
):
    waiting = [make_pending() for _ in range(3)][2]
    claimer.beat()
    claimer.drain()
    assert claimer.succeed_all([Success(lifecycle.started[0].claim, "1")])
    assert job_store.get_job(waiting).status is JobStatus.PENDING


def test_a_draining_claimer_claims_nothing(job_store, make_pending, claimer):
    job_id = make_pending()
    claimer.drain()
    assert claimer.beat() is None
    assert job_store.get_job(job_id).status is JobStatus.PENDING


def test_draining_waits_for_the_claim_that_is_under_way(
    job_store, make_pending, claimer, lifecycle, monkeypatch
):
    make_pending()
    inside, leave = threading.Event(), threading.Event()
    claim_batch = job_store.claim_batch

    def slow(*args, **kwargs):
        inside.set()
        leave.wait(PATIENCE_SECONDS)
        return claim_batch(*args, **kwargs)

    monkeypatch.setattr(job_store, "claim_batch", slow)
    beat = threading.Thread(target=claimer.beat, name="beat")
    beat.start()
    assert inside.wait(PATIENCE_SECONDS)
    drained = threading.Event()
    drain = threading.Thread(target=lambda: (claimer.drain(), drained.set()), name="drain")
    drain.start()
    assert not drained.is_set()
    leave.set()
    assert drained.wait(PATIENCE_SECONDS)
    assert len(lifecycle.started) == 1
    beat.join()
    drain.join()


@pytest.fixture
def looks():
    return []


@pytest.fixture
def busy(make_pending, make_claimer, lifecycle, looks):
    """A claimer that has filled its two slots for "sample" three times in a row."""
    for _ in range(4):
        make_pending()
    claimer = make_claimer(look_again=lambda: looks.append(True))
    claimer.beat()
    for job in lifecycle.started[:2]:
        end(claimer, job)
    assert len(lifecycle.started) == 4
    return claimer


def end(claimer, job) -> None:
    assert claimer.succeed_all([Success(job.claim, "1")])


@pytest.fixture
def make_committed_late(job_store, make_pending):
    def make() -> str:
        job_id = make_pending()
        created_at = job_store.get_job(job_id).creation_time
        change_raw(job_store, job_id, creation_time=created_at - 60_000)
        return job_id

    return make


def test_a_job_that_was_committed_late_waits_a_moment_behind_a_busy_runner(
    make_pending, make_committed_late, busy, lifecycle, clock
):
    newer, late = [make_pending() for _ in range(2)], make_committed_late()
    end(busy, lifecycle.started[2])
    clock.advance(WHOLE_SECONDS)
    end(busy, lifecycle.started[3])
    assert [job.claim.job_id for job in lifecycle.started[4:]] == [newer[0], late]


def test_a_job_that_was_committed_late_is_claimed_at_once_where_a_slot_is_free(
    make_committed_late, busy, lifecycle, looks
):
    late = make_committed_late()
    end(busy, lifecycle.started[2])
    assert (len(lifecycle.started), looks) == (4, [True])
    busy.beat()
    assert lifecycle.started[-1].claim.job_id == late


def test_the_next_success_claims_it_if_it_comes_first(make_committed_late, busy, lifecycle):
    late = make_committed_late()
    end(busy, lifecycle.started[2])
    end(busy, lifecycle.started[3])
    assert lifecycle.started[-1].claim.job_id == late


def test_a_beat_that_left_a_slot_free_for_it_is_followed_by_another(
    make_committed_late, busy, lifecycle, owned
):
    late = make_committed_late()
    owned.remove(lifecycle.started[2].claim)
    assert busy.beat() == 0.0
    assert len(lifecycle.started) == 4
    busy.beat()
    assert lifecycle.started[-1].claim.job_id == late
