"""Hints between servers over a real PostgreSQL, whose connections are cut and hung on the way."""

import logging
import queue
import threading

import pytest
import sqlalchemy

from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.wakeups import postgresql
from mlflow.server.jobs.wakeups.base import EVERYTHING, Hint, read, written
from mlflow.server.jobs.wakeups.postgresql import PostgresReceiver, notifies, notify
from tests.proxies import Proxy
from tests.server.jobs.fakes import PATIENCE_SECONDS
from tests.store.jobs.real_databases import fresh_database

DRIVERS = ["psycopg2", "psycopg"]


class QuickClock(Clock):
    """Pauses are over at once, and remembered."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def wait(self, event, timeout_seconds):
        self.pauses.append(timeout_seconds)
        return event.wait(min(timeout_seconds, 0.01))


class Told:
    """Takes hints, and lets a test wait for one."""

    def __init__(self) -> None:
        self._queue = queue.Queue()

    def __call__(self, hint, is_own):
        self._queue.put((hint, is_own))

    def next(self):
        return self._queue.get(timeout=PATIENCE_SECONDS)

    def until(self, wanted) -> None:
        while self.next() != wanted:
            pass

    def is_empty(self) -> bool:
        return self._queue.empty()


@pytest.fixture(scope="module")
def database_url(tmp_path_factory):
    with fresh_database("postgresql", tmp_path_factory.mktemp("none")) as uri:
        yield sqlalchemy.make_url(uri)


@pytest.fixture
def proxy(database_url):
    proxy = Proxy(database_url.host, database_url.port or 5432)
    yield proxy
    proxy.close()


@pytest.fixture(params=DRIVERS)
def driver(request):
    return pytest.importorskip(request.param) and request.param


@pytest.fixture
def connect(database_url, driver):
    engines = []

    def connect(proxy=None) -> sqlalchemy.Engine:
        url = database_url.set(drivername=f"postgresql+{driver}")
        if proxy:
            url = url.set(host="127.0.0.1", port=proxy.port)
        engines.append(sqlalchemy.create_engine(url, pool_pre_ping=True))
        return engines[-1]

    yield connect
    for engine in engines:
        engine.dispose()


@pytest.fixture
def start(request):
    receivers = []

    def start(engine, sender="us", hears_own=True, clock=None):
        told = Told()
        receiver = PostgresReceiver(engine, clock or QuickClock(), sender, lambda: hears_own)
        receivers.append(receiver)
        receiver.start(told)
        return receiver, told

    yield start
    for receiver in receivers:
        receiver.stop()


def test_a_hint_of_another_server_arrives(connect, start):
    engine = connect()
    receiver, told = start(engine)
    assert told.next() == (EVERYTHING, False)
    assert receiver.hears_all
    for hint in (Hint.WORK, Hint.CANCEL, Hint.LEADER | Hint.WORK):
        notify(engine, hint, "them")
        assert told.next() == (hint, False)


@pytest.mark.parametrize("hears_own", [True, False])
def test_our_own_hint_counts_only_where_it_came_no_shorter_way(connect, start, hears_own):
    engine = connect()
    _, told = start(engine, hears_own=hears_own)
    told.until((EVERYTHING, False))
    notify(engine, Hint.WORK, "us")
    notify(engine, Hint.CANCEL, "them")
    if not hears_own:
        assert told.next() == (Hint.WORK, True)
    assert told.next() == (Hint.CANCEL, False)


def test_after_its_connection_was_cut_it_looks_at_everything_and_hints_come_again(
    connect, start, proxy
):
    receiver, told = start(connect(proxy))
    told.until((EVERYTHING, False))
    proxy.end_connections()
    told.until((EVERYTHING, True))
    told.until((EVERYTHING, False))
    assert receiver.hears_all
    notify(connect(), Hint.WORK, "them")
    told.until((Hint.WORK, False))


def test_while_the_server_is_away_it_tries_again_after_growing_pauses_and_says_so_once(
    connect, start, proxy, caplog
):
    caplog.set_level(logging.INFO, postgresql.__name__)
    clock = QuickClock()
    receiver, told = start(connect(proxy), clock=clock)
    told.until((EVERYTHING, False))
    proxy.cut()
    told.until((EVERYTHING, True))
    assert not receiver.hears_all
    tried = threading.Event()
    while len(clock.pauses) < 6:
        assert not tried.wait(0.02)
    proxy.restore()
    told.until((EVERYTHING, False))
    pauses = clock.pauses[:6]
    assert 0 < pauses[0] < 1 < pauses[4] <= 30
    notify(connect(), Hint.WORK, "them")
    told.until((Hint.WORK, False))
    levels = [record.levelname for record in caplog.records if record.name == postgresql.__name__]
    assert levels == ["WARNING", "INFO"]


def test_a_connection_that_hangs_half_open_is_found_out_by_a_word_to_oneself(
    connect, start, proxy, monkeypatch
):
    monkeypatch.setattr(postgresql, "_QUIET_SECONDS", 0.2)
    monkeypatch.setattr(postgresql, "_WORD_SECONDS", 0.5)
    through_proxy, direct = connect(proxy), connect()
    send = postgresql._send
    monkeypatch.setattr(postgresql, "_send", lambda engine, payload: send(direct, payload))
    clock = QuickClock()
    _, told = start(through_proxy, clock=clock)
    told.until((EVERYTHING, False))
    proxy.hang()
    told.until((EVERYTHING, True))
    proxy.cut()
    proxy.restore()
    told.until((EVERYTHING, False))
    assert clock.pauses[0] < 1
    notify(direct, Hint.CANCEL, "them")
    told.until((Hint.CANCEL, False))


def test_behind_a_pooler_that_swallows_notifications_it_does_not_claim_to_hear(
    connect, start, monkeypatch, caplog
):
    engine = connect()
    monkeypatch.setattr(postgresql, "_WORD_SECONDS", 0.2)
    # What such a pooler does: the session that listens is another one than ours.
    monkeypatch.setattr(postgresql.Listening, "arrived", lambda listening: [])
    paused = threading.Event()

    class StoppingClock(QuickClock):
        def wait(self, event, timeout_seconds):
            self.pauses.append(timeout_seconds)
            paused.set()
            return event.wait(PATIENCE_SECONDS)

    clock = StoppingClock()
    receiver, told = start(engine, clock=clock)
    assert paused.wait(PATIENCE_SECONDS)
    assert not receiver.hears_all
    assert told.is_empty()
    assert clock.pauses[0] > 60
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "polling" in caplog.text


def test_a_hint_that_cannot_be_sent_is_no_error(connect, proxy):
    engine = connect(proxy)
    proxy.cut()
    notify(engine, Hint.WORK, "them")


def test_only_a_postgresql_with_a_known_driver_carries_hints(connect):
    assert notifies(connect())
    assert not notifies(sqlalchemy.create_engine("sqlite://"))
    assert not notifies(sqlalchemy.create_engine("mysql+pymysql://db/mlflow"))


@pytest.mark.parametrize("hint", [Hint.WORK, Hint.CANCEL, Hint.LEADER, EVERYTHING])
def test_a_hint_is_a_few_letters_and_unknown_ones_are_passed_over(hint):
    assert len(written(hint)) <= 3
    assert read(written(hint)) == hint
    assert read("z" + written(hint) + "y") == hint
