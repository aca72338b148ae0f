"""I3: a process that is stopped within a transaction does not hold up the others for ever."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import dialects
from mlflow.store.jobs.values import JobUpdateStatus
from tests.store.jobs.store_factories import LEASE_SECONDS, claim, claim_one, lead

PATIENCE_SECONDS = 300
ROOT = Path(__file__).parents[3]
LIMITS = {
    "postgresql": [
        ("SHOW idle_in_transaction_session_timeout", "10s"),
        ("SHOW lock_timeout", "10s"),
    ],
    "mysql": [
        ("SELECT @@idle_transaction_timeout", 10),
        ("SELECT @@innodb_lock_wait_timeout", 10),
    ],
}

pytestmark = pytest.mark.skipif(os.name == "nt", reason="jobs do not run on Windows")


@pytest.fixture
def server_store(store):
    if store.db_type == "sqlite":
        pytest.skip("SQLite has no server that could end what a stopped process holds")
    return store


@contextmanager
def stopped_while_it_records(store, owned) -> Iterator[subprocess.Popen]:
    """A process that has stopped itself in the transaction of T5, with the lease's row locked."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.store.jobs.paused_writer",
            store.engine.url.render_as_string(hide_password=False),
            owned.job_id,
            str(owned.fence),
            "2",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(PATIENCE_SECONDS, process.kill)
    watchdog.start()
    try:
        assert process.stdout.readline() == "holding\n"
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_others_go_on_without_a_process_that_was_stopped_in_a_transaction(server_store, clock):
    store = server_store
    owned = claim_one(store, lock_key="key").claim
    lead(store, "ex-leader")

    with stopped_while_it_records(store, owned) as stopped:
        clock.advance(seconds=LEASE_SECONDS + 1)
        # Waits for the row of the lease, and so for all that the process holds.
        term = lead(store, "next", ttl_seconds=3600)
        assert store.sweep(term) == 1
        (candidate,) = store.recovery_candidates()
        store.requeue(candidate, term, max_recoveries=3)
        (again,) = claim(store, "survivor").claimed
        assert again.claim.job_id == owned.job_id
        os.kill(stopped.pid, signal.SIGCONT)
        assert stopped.stdout.readline() == "unavailable CLAIM_LOST\n"

    assert store.get_job(owned.job_id).status is JobStatus.RUNNING
    assert store.succeed(again.claim, '"of the survivor"') is JobUpdateStatus.APPLIED
    assert store.get_job(owned.job_id).result == '"of the survivor"'


def test_every_connection_of_the_store_has_its_limits(server_store):
    engine = server_store.engine
    with engine.connect() as first, engine.connect() as second:
        for connection in (first, second):
            for question, answer in LIMITS[server_store.db_type]:
                assert connection.exec_driver_sql(question).scalar_one() == answer


def test_a_limit_is_set_once_for_a_connection_and_outlives_a_rollback(server_store):
    (question, answer), *_ = LIMITS[server_store.db_type]
    with server_store.engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        connection.rollback()
        assert connection.exec_driver_sql(question).scalar_one() == answer
    before = server_store.engine.pool
    dialects.limit_held_locks(server_store.engine)
    assert server_store.engine.pool is before


def test_a_database_that_refuses_limits_is_used_without(server_store, monkeypatch, caplog):
    monkeypatch.setattr(dialects, "_LOCK_WAIT_SECONDS", "nonsense")
    connection = server_store.engine.raw_connection()
    try:
        dialects._LIMITS[server_store.db_type](connection.driver_connection, None)
        assert "refuses limits" in caplog.text
        connection.cursor().execute("SELECT 1")
    finally:
        connection.close()
