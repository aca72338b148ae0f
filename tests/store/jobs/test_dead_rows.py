"""I10 on PostgreSQL: what updates leave behind, and what is done about it.

An update that changes no indexed column is HOT: it writes no index, and needs no vacuum. What
changes the state or the lease of a job cannot be, since MLflow's own index has both; nor can it
become so by a fill factor.
"""

import time

import pytest
import sqlalchemy
from sqlalchemy.dialects import postgresql

from mlflow.entities._job import JobProgress
from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import dialects, due_rows, tables
from mlflow.store.jobs.job_tokens import hash_of
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.jobs.values import Success, TokenHolder
from tests.store.jobs.store_factories import LEASE_SECONDS, claim, claim_one, create, lead
from tests.store.jobs.test_plans import numbers

pytestmark = pytest.mark.parametrize("database_uri", ["postgresql"], indirect=True, scope="session")

# Few enough that one page holds all versions of a row: pruning it, which an autoanalyze at the same
# moment prevents, must not be needed.
TIMES = 5
# More than enough for two pages to be fewer than one in fifty, which is what a vacuum goes by.
ENDED = 20_000
WORKED_OFF = 300
PATIENCE_SECONDS = 60


def updates(store: SqlAlchemyJobStore, table: str, action) -> tuple[int, int]:
    """How many updates of a table an action made, and how many of them were HOT."""
    before = _counted(store, table)
    action()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (after := _counted(store, table))[0] < before[0] + TIMES:
        assert time.monotonic() < deadline, "PostgreSQL does not count the updates"
        time.sleep(0.05)
    return after[0] - before[0], after[1] - before[1]


def _counted(store: SqlAlchemyJobStore, table: str) -> tuple[int, int]:
    # A session tells what it did when it ends.
    store.engine.dispose()
    counted = sqlalchemy.text(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = :table"
    )
    with store.engine.connect() as connection:
        return tuple(connection.execute(counted, {"table": table}).one())


def test_renewals_of_the_scheduler_lease_write_no_index(store):
    term = lead(store)

    def renew():
        for _ in range(TIMES):
            assert store.lead(term, 20.0)

    assert updates(store, "scheduler_leases", renew) == (TIMES, TIMES)


def test_reports_of_progress_write_no_index(store):
    held = claim_one(store).claim

    def report():
        for done in range(TIMES):
            store.update_job_progress(
                held.job_id, "reads", JobProgress(completed=done), fence=held.fence
            )

    assert updates(store, "jobs", report) == (TIMES, TIMES)


def test_reports_of_remote_progress_write_no_index(store):
    create(store, executor_backend="ray")
    (job,) = claim(store, backends=["ray"], token_backends=["ray"]).claimed
    holder = TokenHolder(job.claim.job_id, hash_of(job.token))

    def report():
        for done in range(TIMES):
            store.report_progress(holder, "reads", JobProgress(completed=done))

    assert updates(store, "jobs", report) == (TIMES, TIMES)


def test_renewals_of_jobs_write_indexes_since_one_of_mlflows_has_the_lease(store):
    for _ in range(TIMES):
        create(store)
    owned = [job.claim for job in claim(store, capacity={"job": TIMES}).claimed]

    assert updates(store, "jobs", lambda: store.renew(owned, LEASE_SECONDS)) == (TIMES, 0)


def test_a_vacuum_removes_index_entries_also_where_few_pages_of_many_were_touched(store):
    number = numbers(ENDED)
    rows = sqlalchemy.select(
        sqlalchemy.literal("ended-").concat(sqlalchemy.cast(number, sqlalchemy.String)).label("id"),
        number.label("creation_time"),
        sqlalchemy.literal("other").label("job_name"),
        sqlalchemy.literal("{}").label("params"),
        sqlalchemy.literal("default").label("workspace"),
        sqlalchemy.literal(JobStatus.SUCCEEDED.to_int()).label("status"),
        sqlalchemy.literal(0).label("retry_count"),
        number.label("last_update_time"),
    ).where(number < ENDED)
    with store.engine.begin() as connection:
        connection.execute(tables.jobs.insert().from_select(rows.selected_columns.keys(), rows))
    _vacuum(store)
    store.succeed(claim_one(store).claim, "1")

    told = _vacuum(store)

    assert "index scan needed" in told, told


def test_a_claim_behind_a_held_horizon_need_not_pass_what_a_runner_has_worked_off(store):
    with store.engine.connect() as held:
        held = held.execution_options(isolation_level="REPEATABLE READ")
        held.execute(sqlalchemy.text("SELECT count(*) FROM jobs"))
        for _ in range(WORKED_OFF // 10):
            for _ in range(10):
                newest = create(store).creation_time
            batch = claim(store, capacity={"job": 10})
            assert store.succeed_all([Success(job.claim, "1") for job in batch.claimed])

        of_all = _pages_of_a_claim(store, {})
        of_the_rest = _pages_of_a_claim(store, {"job": newest})

    assert of_the_rest * 5 < of_all


def _pages_of_a_claim(store: SqlAlchemyJobStore, created_since) -> int:
    due = due_rows.due({"job": 10}, [None], dialects.now_ms(0), "postgresql", created_since)
    explained = sqlalchemy.text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {_text(due)}")
    with store.engine.connect() as connection:
        plan = connection.execute(explained).scalar_one()[0]["Plan"]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


def _text(statement: sqlalchemy.Select) -> str:
    compiled = statement.compile(
        dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}
    )
    return str(compiled).replace("%%", "%")


def _vacuum(store: SqlAlchemyJobStore) -> str:
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # SQLAlchemy would take the notices away.
        driver = connection.connection.driver_connection
        with driver.cursor() as cursor:
            cursor.execute("VACUUM (VERBOSE) jobs")
        return "".join(driver.notices)
