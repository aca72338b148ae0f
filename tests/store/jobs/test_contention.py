"""What a pause or a lost race of one process costs the others: no wait, no undone transaction."""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy
from sqlalchemy.engine import Connection

from mlflow.store.jobs import dialects, tables
from mlflow.store.jobs.transaction import Transactions
from tests.store.jobs.store_factories import claim, claim_one, create, lead

WAITING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'",
    "mysql": "SELECT count(*) FROM information_schema.innodb_trx "
    "JOIN information_schema.processlist ON id = trx_mysql_thread_id "
    "WHERE db = database() AND trx_state = 'LOCK WAIT'",
}


@contextlib.contextmanager
def stopped_in_a_transaction(store) -> Iterator[Connection]:
    """A process that was stopped before it could commit what it does with the connection."""
    with store.engine.connect() as connection, connection.begin():
        dialects.begin(connection)
        yield connection


def wait_until_waiting(store, count: int) -> None:
    deadline = time.monotonic() + 20
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while connection.exec_driver_sql(WAITING[store.db_type]).scalar_one() < count:
            assert time.monotonic() < deadline, "nobody waits"
            # MySQL brings what it says of transactions up to date only if left alone for so long.
            time.sleep(0.15)


def test_who_asks_for_a_held_lease_waits_for_nobody(store):
    lead(store)
    row = sqlalchemy.select(tables.scheduler_leases)

    with ThreadPoolExecutor(1) as follower:
        with stopped_in_a_transaction(store) as stopped:
            stopped.execute(dialects.locking(row, tables.scheduler_leases)).all()
            asked = follower.submit(store.acquire_scheduler_lease, "scheduler", "follower", 20.0)
            assert asked.result(timeout=10) is None


def test_claims_that_lose_the_race_for_a_new_lock_do_not_undo_each_other(store, monkeypatch):
    if store.db_type == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    undone = []
    monkeypatch.setattr(store, "_transactions", Transactions(store.engine, pause=undone.append))
    winner = claim_one(store).claim
    losers = {create(store, lock_key="key").job_id for _ in range(3)}
    lock = tables.job_locks.insert().values(
        lock_key="key", job_id=winner.job_id, fence=winner.fence, acquired_at=store.now_ms()
    )

    with ThreadPoolExecutor(3) as runners:
        with stopped_in_a_transaction(store) as first:
            first.execute(lock)
            batches = [runners.submit(claim, store, each, capacity={"job": 1}) for each in "abc"]
            wait_until_waiting(store, 3)
        canceled = [job_id for batch in batches for job_id in batch.result().canceled]

    assert set(canceled) == losers
    assert undone == []
