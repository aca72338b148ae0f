"""The connection that is kept beside the pool breaks no promise of the pool."""

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import event
from sqlalchemy.pool import QueuePool

from mlflow.store.jobs import at_hand, silent_ping
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from tests.store.jobs.store_factories import claim, create, not_exclusive

on_postgresql = pytest.mark.parametrize(
    "database_uri", ["postgresql"], indirect=True, scope="session"
)
where_kept = pytest.mark.parametrize(
    "database_uri", ["postgresql", "sqlite"], indirect=True, scope="session"
)


@pytest.fixture
def resting(store) -> SqlAlchemyJobStore:
    """A store of which no connection is kept or open yet."""
    store.engine.dispose()
    return store


@pytest.fixture
def given_out(resting) -> Iterator[list]:
    """The connections that the pool has given out, each time that it has."""
    given: list = []

    def note(driver_connection, record, proxy):
        given.append(driver_connection)

    event.listen(resting.engine, "checkout", note)
    yield given
    event.remove(resting.engine, "checkout", note)


@where_kept
def test_one_connection_serves_again_and_again_without_the_pool(resting, given_out):
    resting.now_ms()
    create(resting)
    given_out.clear()
    for _ in range(3):
        create(resting)
        (owned,) = claim(resting, capacity={"job": 1}).claimed
        resting.succeed(owned.claim, "1")
    assert len(given_out) <= 1


def test_nobody_else_is_given_what_is_in_use(resting):
    with at_hand.connect(resting.engine) as mine:
        with at_hand.connect(resting.engine) as another:
            assert mine.connection.driver_connection is not another.connection.driver_connection
    resting.now_ms()


@where_kept
def test_what_failed_goes_back_to_the_pool(resting):
    create(resting)
    with pytest.raises(TypeError):
        resting.claim_batch("a", [None], {"job": object()}, 30.0, not_exclusive)
    with pytest.raises(ZeroDivisionError):
        with at_hand.connect(resting.engine) as connection:
            raise ZeroDivisionError
    assert connection.closed
    assert resting.engine.pool.checkedout() == 0
    assert len(claim(resting).claimed) == 1


@where_kept
def test_one_that_was_taken_long_ago_goes_through_the_pool(resting, given_out, monkeypatch):
    monkeypatch.setattr(at_hand, "_KEPT_SECONDS", 0.0)
    given_out.clear()
    for _ in range(3):
        create(resting)
    assert len(given_out) >= 3


@on_postgresql
def test_one_that_was_idle_for_long_is_asked_although_it_comes_from_the_pool(resting, monkeypatch):
    asked = []
    ping = resting.engine.dialect.do_ping

    def note(driver_connection):
        asked.append(driver_connection)
        return True

    monkeypatch.setattr(ping, "_ping", note)
    monkeypatch.setattr(at_hand, "_KEPT_SECONDS", 0.0)
    create(resting)
    (kept,) = at_hand._kept[resting.engine]
    kept.connection.info[silent_ping.IDLE_SINCE] -= silent_ping._SILENT_PING_SECONDS
    asked.clear()
    create(resting)
    assert len(asked) == 1


@on_postgresql
def test_one_that_the_server_has_ended_is_not_used(resting, given_out):
    create(resting)
    (kept,) = at_hand._kept[resting.engine]
    pid = kept.connection.connection.driver_connection.info.backend_pid
    with resting.engine.connect() as other:
        ended = other.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 10000)").scalar_one()
    assert ended
    create(resting)
    assert len(resting.search_jobs()[0]) == 2


@where_kept
def test_nothing_is_kept_of_a_pool_that_has_no_second_connection(resting):
    pool = resting.engine.pool
    resting.engine.pool = QueuePool(pool._creator, pool_size=1, max_overflow=0, timeout=0)
    resting.engine.pool._dialect = pool._dialect
    try:
        create(resting)
        with resting.engine.connect():
            pass
    finally:
        resting.engine.pool.dispose()
        resting.engine.pool = pool


@where_kept
def test_the_kept_connection_ends_with_its_pool(resting):
    create(resting)
    (kept,) = at_hand._kept[resting.engine]
    resting.engine.dispose()
    assert kept.connection.closed
    assert not at_hand._kept[resting.engine]
    create(resting)


@where_kept
def test_one_that_is_in_use_when_its_pool_ends_is_not_kept(resting):
    with at_hand.connect(resting.engine) as connection:
        resting.engine.dispose()
    assert connection.closed
    assert not at_hand._kept[resting.engine]
    create(resting)


@where_kept
def test_the_kept_connection_of_a_parent_is_not_ended_by_its_child(resting, monkeypatch):
    create(resting)
    (kept,) = at_hand._kept[resting.engine]
    monkeypatch.setattr(at_hand.os, "getpid", lambda: -1)
    resting.engine.dispose(close=False)
    monkeypatch.undo()
    assert not kept.connection.invalidated
    kept.connection.invalidate()
    kept.connection.close()


@where_kept
def test_many_threads_share_one_store(resting):
    errors = []

    def submit():
        try:
            for _ in range(20):
                create(resting)
        except Exception as error:  # noqa: BLE001 - asserted below
            errors.append(error)

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(list(resting.list_jobs())) == 80
