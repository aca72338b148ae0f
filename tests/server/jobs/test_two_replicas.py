"""Two replicas on one database: a hint of one makes the other look, and without it a look comes."""

import threading

import pytest

from mlflow.environment_variables import _MLFLOW_SERVER_BOOT_ID
from mlflow.server.jobs import wiring
from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.discovery import lazy
from mlflow.server.jobs.wakeups.base import Hint
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from tests.server.jobs.fakes import PATIENCE_SECONDS, succeeded
from tests.store.jobs.real_databases import KINDS, fresh_database
from tests.store.jobs.store_factories import empty

NEVER_SECONDS = 3600.0
LOOK_SECONDS = 0.02


@pytest.fixture(scope="module", params=KINDS)
def database_uri(request, tmp_path_factory):
    with fresh_database(request.param, tmp_path_factory.mktemp("database")) as uri:
        yield uri


@pytest.fixture
def job_store(database_uri):
    store = SqlAlchemyJobStore(database_uri)
    empty(store)
    yield store
    store.engine.dispose()


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch):
    """What one replica tells the other goes through the database."""
    monkeypatch.delenv(_MLFLOW_SERVER_BOOT_ID.name, raising=False)


@pytest.fixture
def start(build_parts):
    running = []

    def start(replica_id: str, **settings):
        parts = build_parts(Clock(), replica_id, **settings)
        loops = [*parts.supervising, parts.claiming, *parts.leading]
        running.append((parts, loops))
        for loop in loops:
            loop.start()
        parts.wakeups.start(parts.wake)
        return parts

    yield start
    for parts, loops in running:
        parts.wakeups.stop()
        for loop in loops:
            loop.stop()
    for _, loops in running:
        for loop in loops:
            assert loop.join(PATIENCE_SECONDS)


def wait_until(fact) -> None:
    waited = threading.Event()
    for _ in range(int(PATIENCE_SECONDS / LOOK_SECONDS)):
        if fact():
            return
        waited.wait(LOOK_SECONDS)
    raise AssertionError("it did not happen")


def wait_until_heard(parts) -> None:
    """A receiver begins to hear by itself, and then tells its runner to look at everything."""
    wait_until(lambda: parts.wakeups.hears_all)


def test_a_cancellation_reaches_the_job_on_the_other_replica(
    job_store, start, make_pending, executor
):
    parts = start("a", scheduler_enabled=False)
    job_id = make_pending("sample_add")
    parts.wake()
    assert executor.has_submitted.wait(PATIENCE_SECONDS)
    [job] = parts.owned.all()
    other = SqlAlchemyJobStore(job_store.db_uri)
    other.cancel_job(job_id)
    wiring.Announcer(other.engine, Clock(), "b").to_all(Hint.CANCEL)
    assert executor.has_canceled.wait(PATIENCE_SECONDS)
    assert job.gone.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize("database_uri", ["postgresql"], indirect=True)
def test_work_submitted_at_another_replica_is_claimed_long_before_the_next_poll(
    job_store, start, make_pending, executor
):
    parts = start("a", scheduler_enabled=False, poll_interval=NEVER_SECONDS)
    wait_until_heard(parts)
    announcer = wiring.Announcer(job_store.engine, Clock(), "b")
    for count in range(2):
        make_pending("sample_add")
        announcer.to_all(Hint.WORK)
        assert executor.await_submissions(1), count


@pytest.mark.parametrize("database_uri", ["postgresql"], indirect=True)
def test_a_hint_of_a_cancellation_needs_no_look_of_its_own(
    job_store, start, make_pending, executor
):
    parts = start("a", scheduler_enabled=False)
    wait_until_heard(parts)
    job_id = make_pending("sample_add")
    parts.wake()
    assert executor.has_submitted.wait(PATIENCE_SECONDS)
    job_store.cancel_job(job_id)
    # Looks are half a minute apart from now on.
    wiring.Announcer(job_store.engine, Clock(), "b").to_all(Hint.CANCEL)
    assert executor.has_canceled.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize("database_uri", ["postgresql"], indirect=True)
def test_the_next_batch_is_discovered_at_once_though_another_replica_ran_the_last(
    job_store, start, make_pending, executor, monkeypatch
):
    discovered = threading.Event()
    passes = []

    class Discovery:
        def __init__(self, *_, on_created, **__):
            self._on_created = on_created

        def run(self, term):
            job_id = make_pending("sample_add", {"experiment_id": "7", "full": True})
            self._on_created(job_id, None, {"experiment_id": "7", "full": True})

        def run_experiment(self, term, workspace, experiment_id):
            passes.append((workspace, experiment_id))
            discovered.set()

    begin = []
    monkeypatch.setattr(wiring, "server_tasks", lambda *given: begin.append(given[2]) or [])
    monkeypatch.setattr(lazy, "_get_tracking_store", lambda: None)
    monkeypatch.setattr(lazy, "OnlineScoringDiscovery", Discovery)
    monkeypatch.setattr(wiring, "_SCORING_JOBS", frozenset({"sample_add"}))
    leader = start("a", poll_interval=NEVER_SECONDS)
    leader.claimer.drain()
    wait_until_heard(leader)
    wait_until(lambda: leader.scheduler._lease.term)
    follower = start("b", scheduler_enabled=False, poll_interval=NEVER_SECONDS)
    wait_until_heard(follower)
    begin[0](None)
    assert executor.await_submissions(1)
    [job] = follower.owned.all()
    assert leader.owned.all() == []
    executor.end(job.claim.job_id, succeeded())
    assert discovered.wait(PATIENCE_SECONDS)
    assert passes == [(None, "7")]


@pytest.mark.parametrize("database_uri", ["postgresql"], indirect=True)
def test_a_leader_that_resigns_is_followed_at_once(job_store, start):
    def is_led():
        return job_store.scheduler_lease_lasts("mlflow-job-scheduler") > 0

    leader = start("a", scheduler_lease_ttl=600.0)
    wait_until_heard(leader)
    wait_until(is_led)
    wait_until_heard(start("b", scheduler_lease_ttl=600.0))
    for loop in leader.leading:
        loop.stop()
    leader.scheduler.resign()
    leader.farewell()
    wait_until(is_led)
