"""The parts of a runner, joined and running, around a scripted backend."""

from unittest.mock import Mock

import pytest

from mlflow.server.jobs import wiring
from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.discovery import lazy
from mlflow.server.jobs.remote.online_grants import OnlineGrants
from mlflow.server.jobs.wakeups.base import Hint
from mlflow.store.jobs.errors import JobStoreUnavailable
from tests.server.jobs.fakes import PATIENCE_SECONDS, failed, pass_lease, succeeded


@pytest.fixture
def start(build_parts):
    started = []

    def start(**settings):
        parts = build_parts(Clock(), **settings)
        started.append(parts)
        for loop in [*parts.supervising, parts.claiming]:
            loop.start()
        return parts

    yield start
    for parts in started:
        loops = [*parts.supervising, parts.claiming]
        for loop in loops:
            loop.stop()
        for loop in loops:
            assert loop.join(PATIENCE_SECONDS)


def test_a_wake_up_starts_a_job_long_before_the_next_poll(start, make_pending, executor):
    parts = start(poll_interval=3600.0)
    make_pending("sample_add")
    parts.wake()
    assert executor.has_submitted.wait(PATIENCE_SECONDS)


def test_a_wake_up_carries_a_cancellation(start, make_pending, executor, job_store):
    parts = start(poll_interval=3600.0)
    job_id = make_pending("sample_add")
    parts.wake()
    assert executor.has_submitted.wait(PATIENCE_SECONDS)
    [job] = parts.owned.all()
    job_store.cancel_job(job_id)
    parts.wake()
    assert executor.has_canceled.wait(PATIENCE_SECONDS)
    assert job.gone.wait(PATIENCE_SECONDS)


def test_a_finished_job_makes_room_for_the_next_at_once(start, make_pending, executor):
    parts = start(poll_interval=3600.0)
    ids = [make_pending("sample_add") for _ in range(3)]
    parts.wake()
    assert executor.await_submissions(2)
    for job_id in ids:
        executor.end(job_id, succeeded())
    assert executor.await_submissions(1)


def test_a_retry_is_started_when_it_is_due_and_not_at_the_next_poll(start, make_pending, executor):
    parts = start(poll_interval=3600.0, retry_base_delay=0.05)
    job_id = make_pending("sample_add")
    executor.end(job_id, failed("away", transient=True))
    parts.wake()
    assert executor.await_submissions(2)


@pytest.mark.parametrize(
    ("loop", "verb", "seconds"),
    [("claiming", "claim_batch", 5.0), ("canceling", "not_running", 1.0)],
)
def test_a_database_that_was_away_for_long_is_soon_found_to_be_back(
    build_parts, clock, make_pending, job_store, executor, monkeypatch, loop, verb, seconds
):
    def refuse(*_, **__):
        raise JobStoreUnavailable("away")

    parts = build_parts(clock)
    make_pending("sample_add")
    parts.claimer.beat()
    assert executor.has_submitted.wait(PATIENCE_SECONDS)
    monkeypatch.setattr(job_store, verb, refuse)
    assert 0 < max(getattr(parts, loop).beat_once() for _ in range(20)) <= seconds


def test_a_runner_without_a_scheduler_never_leads(build_parts, clock):
    parts = build_parts(clock, scheduler_enabled=False)
    assert parts.leading == []
    assert parts.scheduler is None


def test_what_discovery_creates_is_claimed_without_waiting_for_a_poll(
    build_parts, clock, monkeypatch, term
):
    discover = []
    monkeypatch.setattr(wiring, "server_tasks", lambda *given: discover.append(given[2]) or [])
    monkeypatch.setattr(lazy, "_get_tracking_store", lambda: None)
    finds = []

    def make_discovery(*_, on_created, **__):
        discovery = Mock(spec=["run"])
        discovery.run = lambda _: [on_created(*found) for found in finds]
        return discovery

    monkeypatch.setattr(lazy, "OnlineScoringDiscovery", make_discovery)
    parts = build_parts(clock)
    woken = watch_wakes(parts, monkeypatch)
    discover[0](term)
    assert woken == []
    finds.append(("job", None, {}))
    discover[0](term)
    assert woken == ["claims", Hint.WORK]


def test_discovery_grants_its_jobs_what_a_remote_backend_needs(
    build_parts, clock, monkeypatch, term
):
    discover, built = [], []
    monkeypatch.setattr(wiring, "server_tasks", lambda *given: discover.append(given[2]) or [])
    monkeypatch.setattr(lazy, "_get_tracking_store", lambda: None)

    def make_discovery(*given, **_):
        built.extend(given)
        return Mock(spec=["run"])

    monkeypatch.setattr(lazy, "OnlineScoringDiscovery", make_discovery)
    build_parts(clock)
    discover[0](term)
    assert [type(part) for part in built].count(OnlineGrants) == 1


def test_what_recovery_requeues_is_claimed_without_waiting_for_a_poll(
    build_parts, clock, claim_one, job_store, monkeypatch
):
    parts = build_parts(clock)
    claim_one("sample_add", executor_backend="local")
    pass_lease(job_store)
    woken = watch_wakes(parts, monkeypatch)
    scheduling, recovering, _ = parts.leading
    scheduling.beat_once()
    assert woken == []
    recovering.beat_once()
    assert woken == ["claims", Hint.WORK]


def watch_wakes(parts, monkeypatch) -> list[str]:
    woken = []
    monkeypatch.setattr(parts.claiming, "wake", lambda: woken.append("claims"))
    monkeypatch.setattr(parts.announcer, "to_others", woken.append)
    return woken
