"""A transaction whose BEGIN is sent with its first statement is one like any other."""

import logging
from collections.abc import Iterator

import pytest
import sqlalchemy

from mlflow.store.jobs.errors import JobStoreUnavailable
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.transaction import Transactions
from tests.store.jobs.store_factories import create

pytestmark = pytest.mark.parametrize("database_uri", ["postgresql"], indirect=True, scope="session")

_DRIVER = "postgresql+psycopg2"


@pytest.fixture
def engine(store, database_uri) -> Iterator[sqlalchemy.engine.Engine]:
    """An engine with one connection of the driver that sends BEGIN by itself."""
    engine = sqlalchemy.create_engine(
        sqlalchemy.make_url(database_uri).set(drivername=_DRIVER), pool_size=1, max_overflow=0
    )
    yield engine
    engine.dispose()


@pytest.fixture
def transactions(engine) -> Transactions:
    return Transactions(engine)


def sent(engine, transactions, work) -> list[str]:
    """What a write sends to the server, message by message."""
    statements = []
    # Behind the listener that joins BEGIN to a statement.
    sqlalchemy.event.listen(
        engine, "before_cursor_execute", lambda *told: statements.append(told[2])
    )
    transactions.write(work)
    return statements


def renamed(job_id, name):
    return jobs.update().where(jobs.c.id == job_id).values(creator=name)


def creators(store, *job_ids) -> list[str | None]:
    return [store.get_job(job_id).creator for job_id in job_ids]


def test_begin_goes_with_the_first_statement(engine, transactions):
    def work(connection):
        connection.exec_driver_sql("SELECT 1")
        connection.exec_driver_sql("SELECT 2")

    assert sent(engine, transactions, work) == [
        "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT 1",
        "SELECT 2",
    ]


def test_work_that_sends_nothing_begins_nothing(engine, transactions):
    assert sent(engine, transactions, lambda connection: None) == []
    with engine.connect() as connection:
        # As that there is nothing to commit.
        assert connection.connection.driver_connection.notices == []


def test_its_statements_apply_together(store, transactions):
    first, second = create(store).job_id, create(store).job_id

    def work(connection):
        connection.execute(renamed(first, "new"))
        assert creators(store, first) == [None]
        connection.execute(renamed(second, "new"))

    transactions.write(work)
    assert creators(store, first, second) == ["new", "new"]


def test_statements_of_many_values_are_of_it_too(store, engine, transactions, caplog):
    # Where SQLAlchemy writes what the server remarks.
    caplog.set_level(logging.INFO, logger="sqlalchemy.dialects.postgresql")
    ids = [create(store).job_id for _ in range(3)]
    each = jobs.update().where(jobs.c.id == sqlalchemy.bindparam("which")).values(creator="new")

    def work(connection):
        connection.execute(each, [{"which": job_id} for job_id in ids])
        assert creators(store, *ids) == [None] * 3

    sent(engine, transactions, work)
    # As that a transaction has begun already.
    assert caplog.messages == []
    assert creators(store, *ids) == ["new"] * 3


def test_a_commit_that_the_server_refuses_is_an_error_of_the_database(store, transactions):
    def work(connection):
        connection.exec_driver_sql(
            "CREATE TEMP TABLE late (x int UNIQUE DEFERRABLE INITIALLY DEFERRED) ON COMMIT DROP"
        )
        connection.exec_driver_sql("INSERT INTO late VALUES (1), (1)")

    with pytest.raises(JobStoreUnavailable, match="UniqueViolation"):
        transactions.write(work)
    transactions.write(lambda connection: connection.exec_driver_sql("SELECT 1"))


def test_a_commit_that_concurrent_work_undid_is_tried_again(engine):
    attempts = []

    def work(connection):
        attempts.append(connection)
        if len(attempts) == 1:
            connection.exec_driver_sql(
                "CREATE FUNCTION pg_temp.fail() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'as asked' USING ERRCODE = '40001'; END $$"
            )
            connection.exec_driver_sql("CREATE TEMP TABLE late (x int)")
            connection.exec_driver_sql(
                "CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON late DEFERRABLE INITIALLY "
                "DEFERRED FOR EACH ROW EXECUTE FUNCTION pg_temp.fail()"
            )
            connection.exec_driver_sql("INSERT INTO late VALUES (1)")

    Transactions(engine, pause=lambda seconds: None).write(work)
    assert len(attempts) == 2


def test_a_savepoint_may_come_first(store, transactions):
    job_id = create(store).job_id

    def work(connection):
        savepoint = connection.begin_nested()
        connection.execute(renamed(job_id, "undone"))
        savepoint.rollback()
        connection.execute(jobs.update().where(jobs.c.id == job_id).values(retry_count=7))

    transactions.write(work)
    job = store.get_job(job_id)
    assert (job.creator, job.retry_count) == (None, 7)


@pytest.mark.parametrize("problem", [LookupError("mine"), KeyboardInterrupt()])
def test_an_error_of_the_work_undoes_it_and_leaves_a_connection_that_works(
    store, transactions, problem
):
    job_id = create(store).job_id

    def work(connection):
        connection.execute(renamed(job_id, "undone"))
        raise problem

    with pytest.raises(type(problem)):
        transactions.write(work)
    assert creators(store, job_id) == [None]
    transactions.write(lambda connection: connection.execute(renamed(job_id, "new")))
    assert creators(store, job_id) == ["new"]


def test_a_statement_that_fails_undoes_it_and_leaves_a_connection_that_works(store, transactions):
    job_id = create(store).job_id

    def work(connection):
        connection.execute(renamed(job_id, "undone"))
        connection.exec_driver_sql("SELECT 1 / 0")

    with pytest.raises(JobStoreUnavailable, match="division by zero"):
        transactions.write(work)
    transactions.write(lambda connection: connection.exec_driver_sql("SELECT 1"))
    assert creators(store, job_id) == [None]


def test_a_connection_that_was_lost_in_it_is_replaced(store, engine, transactions):
    job_id = create(store).job_id

    def work(connection):
        connection.execute(renamed(job_id, "undone"))
        own = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with store.engine.connect() as other:
            other.execute(sqlalchemy.select(sqlalchemy.func.pg_terminate_backend(own, 10_000)))
        connection.execute(renamed(job_id, "undone"))

    with pytest.raises(JobStoreUnavailable):
        transactions.write(work)
    transactions.write(lambda connection: connection.exec_driver_sql("SELECT 1"))
    assert creators(store, job_id) == [None]


def test_a_connection_that_cannot_roll_back_is_given_to_nobody(store, engine, transactions):
    job_id = create(store).job_id
    lost = []

    def work(connection):
        connection.execute(renamed(job_id, "undone"))
        lost.append(connection.connection.driver_connection)
        own = lost[0].info.backend_pid
        with store.engine.connect() as other:
            other.execute(sqlalchemy.select(sqlalchemy.func.pg_terminate_backend(own, 10_000)))
        raise LookupError

    with pytest.raises(LookupError):
        transactions.write(work)
    with engine.connect() as connection:
        assert connection.connection.driver_connection is not lost[0]


def test_each_statement_sees_what_is_committed_by_then_whatever_the_server_is_set_to(
    store, database_uri
):
    engine = sqlalchemy.create_engine(
        sqlalchemy.make_url(database_uri).set(drivername=_DRIVER),
        connect_args={"options": "-c default_transaction_isolation=serializable"},
    )
    job_id = create(store).job_id
    creator = sqlalchemy.select(jobs.c.creator).where(jobs.c.id == job_id)

    def work(connection):
        before = connection.execute(creator).scalar()
        store._transactions.write(lambda other: other.execute(renamed(job_id, "new")))
        return before, connection.execute(creator).scalar()

    assert Transactions(engine).write(work) == (None, "new")
    engine.dispose()


def test_other_users_of_the_engine_keep_the_transactions_of_the_driver(store, engine, transactions):
    job_id = create(store).job_id
    transactions.write(lambda connection: connection.exec_driver_sql("SELECT 1"))

    with engine.connect() as connection:
        connection.execute(renamed(job_id, "undone"))
        connection.rollback()
    assert creators(store, job_id) == [None]
