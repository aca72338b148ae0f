"""Which failures are tried again, and what the others tell."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import sqlalchemy
from sqlalchemy.exc import DBAPIError, IntegrityError

from mlflow.store.jobs import dialects
from mlflow.store.jobs.errors import JobStoreUnavailable
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.transaction import Raced, Transactions
from tests.store.jobs.store_factories import create


def database_error(*args, **attributes):
    original = Exception(*args)
    vars(original).update(attributes)
    return DBAPIError("UPDATE jobs", {"params": "secret"}, original)


@pytest.mark.parametrize(
    ("dialect", "error", "retryable"),
    [
        ("postgresql", database_error("x", pgcode="40001"), True),
        ("postgresql", database_error("x", sqlstate="40P01"), True),
        ("postgresql", database_error("x", pgcode="23505"), False),
        ("postgresql", database_error("deadlock detected", pgcode="P0001"), False),
        ("postgresql", database_error("x", pgcode=None, sqlstate=None), False),
        ("mysql", database_error(1205, "lock wait timeout", "HY000"), True),
        ("mysql", database_error(2013, "lost connection"), False),
        ("mysql", database_error(1644, "Deadlock found when trying to get lock"), False),
        ("mysql", database_error(), False),
        ("mysql", database_error(1213, "deadlock"), True),
        ("mariadb", database_error(1020, "record has changed"), True),
        ("mysql", database_error(1062, "duplicate"), False),
        ("sqlite", database_error("x", sqlite_errorcode=sqlite3.SQLITE_BUSY_SNAPSHOT), True),
        ("sqlite", database_error("database is locked"), True),
        ("sqlite", database_error("x", sqlite_errorcode=sqlite3.SQLITE_CONSTRAINT), False),
        ("mssql", database_error("40001", "deadlock victim"), True),
        ("mssql", database_error((1205, b"deadlock victim")), True),
        ("mssql", database_error(3960, "snapshot"), True),
        ("mssql", database_error("23000", "duplicate"), False),
        ("mssql", database_error((2627, b"chosen as the deadlock victim")), False),
        ("oracle", database_error(60, "deadlock"), False),
    ],
)
def test_only_what_concurrency_undid_is_tried_again(dialect, error, retryable):
    assert dialects.is_retryable(error, dialect) is retryable


SIGNALS = {
    "postgresql": "DO $$ BEGIN RAISE EXCEPTION '{text}' USING ERRCODE = '{code}'; END $$",
    "mysql": "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = {code}, MESSAGE_TEXT = '{text}'",
}


RETRYABLE = {"postgresql": ["40001", "40P01", "55P03"], "mysql": [1020, 1205, 1213]}
FINAL = {"postgresql": ["23505", "57014", "P0001"], "mysql": [1062, 1644, 2013]}


def test_what_a_server_reports_is_judged_by_its_code_whatever_it_says(store):
    kind = store.db_type
    if kind == "sqlite":
        pytest.skip("SQLite has no statement that reports an error of one's choice")
    expected = dict.fromkeys(RETRYABLE[kind], True) | dict.fromkeys(FINAL[kind], False)
    found = {}
    for code, retryable in expected.items():
        pauses, text = [], "all is well" if retryable else "deadlock detected, try again"
        signal = SIGNALS[kind].format(code=code, text=text)
        with pytest.raises(JobStoreUnavailable, match=text):
            Transactions(store.engine, pause=pauses.append).write(
                lambda connection, signal=signal: connection.exec_driver_sql(signal)
            )
        found[code] = len(pauses) > 0

    assert found == expected


def test_of_two_transactions_that_wait_for_each_other_both_are_done_in_the_end(store):
    if store.db_type == "sqlite":
        pytest.skip("SQLite has one writer at a time, so that no two can wait for each other")
    first, second = create(store).job_id, create(store).job_id
    both_hold_one = threading.Barrier(2)
    attempts = []

    def work(order):
        def take_both(connection):
            attempts.append(order)
            for place, job_id in enumerate(order):
                if place == 1 and attempts.count(order) == 1:
                    both_hold_one.wait(30)
                connection.execute(
                    jobs.update()
                    .where(jobs.c.id == job_id)
                    .values(retry_count=jobs.c.retry_count + 1)
                )

        return lambda: store._transactions.write(take_both)

    with ThreadPoolExecutor(2) as threads:
        done = [threads.submit(work(order)) for order in ((first, second), (second, first))]
        for each in done:
            each.result()

    assert len(attempts) == 3
    assert [store.get_job(job_id).retry_count for job_id in (first, second)] == [2, 2]


def transactions(pauses):
    engine = sqlalchemy.create_engine("sqlite://")
    return Transactions(engine, pause=pauses.append)


def test_work_that_was_undone_is_done_again_after_growing_pauses():
    pauses, attempts = [], []

    def work(connection):
        attempts.append(connection)
        if len(attempts) < 4:
            raise Raced
        return "done"

    assert transactions(pauses).write(work) == "done"
    assert len(attempts) == 4
    assert 0 < pauses[0] < pauses[2] < 1


def test_work_that_is_always_undone_is_given_up_as_temporarily_unavailable():
    def work(connection):
        raise Raced

    with pytest.raises(JobStoreUnavailable) as given_up:
        transactions([]).write(work)
    assert given_up.value.get_http_status_code() == 503


def test_a_failure_of_another_kind_is_not_tried_again_and_quotes_no_values():
    attempts = []

    def work(connection):
        attempts.append(connection)
        raise IntegrityError("INSERT", {"params": "secret"}, Exception("broken\nsecret"))

    with pytest.raises(JobStoreUnavailable, match="broken") as failed:
        transactions([]).write(work)
    assert len(attempts) == 1
    assert "secret" not in str(failed.value)
    assert failed.value.__context__ is None


def test_an_error_of_the_work_itself_passes_and_undoes_the_transaction(tmp_path):
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/file.db")
    runner = Transactions(engine, pause=SimpleNamespace)
    runner.write(lambda connection: connection.exec_driver_sql("CREATE TABLE t (x)"))

    def work(connection):
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        runner.write(work)
    rows = runner.read(lambda connection: connection.exec_driver_sql("SELECT * FROM t").all())
    assert rows == []


def test_a_sqlite_transaction_has_the_file_to_itself_from_its_first_statement(tmp_path):
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/file.db")
    other = sqlite3.connect(tmp_path / "file.db", timeout=0)

    def work(connection):
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        return True

    assert Transactions(engine).write(work)
    other.execute("BEGIN IMMEDIATE")
    other.close()


def test_other_users_of_the_same_engine_keep_their_transactions(tmp_path):
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/file.db")
    dialects.prepare(engine)
    Transactions(engine).write(lambda connection: connection.exec_driver_sql("CREATE TABLE t (x)"))

    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT * FROM t").all() == []
        other = sqlite3.connect(tmp_path / "file.db", timeout=0)
        other.execute("BEGIN IMMEDIATE")
        other.rollback()
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        other.close()


def test_the_connection_that_was_used_last_serves_again(store):
    def of_driver(connection):
        return connection.connection.driver_connection

    for _ in ("as it was opened", "with a new pool"):
        with store.engine.connect() as first:
            with store.engine.connect() as second:
                of_first = of_driver(first)
                assert of_driver(second) is not of_first
        with store.engine.connect() as again:
            assert of_driver(again) is of_first
        store.engine.dispose()
