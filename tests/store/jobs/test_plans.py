"""I10: every verb reads short index ranges, with 100,000 rows of a type at its capacity in front.

The statements are recorded while a verb runs, then explained and run once more, rolled back, to
count what they read. A limit on rows read says what a plan's words do not: that an index is walked
from the right end, and not to the other one.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import BigInteger, String, case, cast, func, literal, literal_column, null, select

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import joined_begin, tables
from mlflow.store.jobs.errors import NotAllSucceeded
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.jobs.values import Claim, Success, Term, TokenHolder
from tests.store.jobs.store_factories import claim, claim_suspect, lead

CAPPED = 100_000
OTHERS = 20_000
HOUR = 3600.0
# Longer ago than any row has ended.
EPOCH = 100 * 365 * 24 * HOUR
# SQLite counts steps of its virtual machine, some forty for a row; the others count rows.
MOST_READ = {"sqlite": 40_000, "postgresql": 1_000, "mysql": 1_000}

VERBS = {
    "T1 by discovery": lambda store, term: store.create_job(
        "job-1", "{}", lock_key="key-100400", workspace="team-2", term=term
    ),
    "T2 claim": lambda store, term: claim(
        store, backends=[None, "local"], capacity={"job-1": 3, "job-2": 2}
    ),
    "T2 claim of a single row": lambda store, term: claim(store, capacity={"job-1": 1}),
    "T2 idle claim": lambda store, term: claim(store, capacity={"no-such-job": 5}),
    "T2 of a suspect": lambda store, term: claim_suspect(store, job_names=["job-1", "job-2"]),
    "T2 of a suspect of which there is none": lambda store, term: claim_suspect(
        store, job_names=["capped", "no-such-job"]
    ),
    "look for anything due": lambda store, term: store.due_work(
        [None, "local"], ["job-1", "job-2"], ["job-1", "job-2", "capped"]
    ),
    "look for anything due of which there is nothing": lambda store, term: store.due_work(
        [None, "local"], ["no-such-job", "nor-this"], ["capped", "no-such-job"]
    ),
    "look for suspects": lambda store, term: store.due_work([None, "local"], [], ["job-1", "x"]),
    "T4 renewal": lambda store, term: store.renew(running(), 30),
    "not running": lambda store, term: store.not_running(running()),
    "T5": lambda store, term: store.succeed(running()[0], "1"),
    "job of a token": lambda store, term: store.job_of_token(remote()),
    "T5 by token": lambda store, term: store.succeed(remote(), "1"),
    "progress by token": lambda store, term: store.report_progress(remote(), "half"),
    "T5 together": lambda store, term: store.succeed_all(
        [Success(each, "1") for each in running()[4:14]]
    ),
    "T5 together, and T2": lambda store, term: end_and_claim(store),
    "T7": lambda store, term: store.retry(running()[1], "again", 1),
    "T8": lambda store, term: store.cancel_job("row-1100100"),
    "lead": lambda store, term: store.lead(term, HOUR),
    "T9 sweep": lambda store, term: store.sweep(term, limit=20),
    "rows that nobody has locked": lambda store, term: store.unlocked(
        [each.job_id for each in running()]
    ),
    "T10": lambda store, term: store.abandon(running()[2:4]),
    "recovery candidates": lambda store, term: store.recovery_candidates(),
    "T12": lambda store, term: store.requeue(store.recovery_candidates()[0], term, 9),
    "search": lambda store, term: store.search_jobs(),
    "search of a later page": lambda store, term: store.search_jobs(
        page_token=store.search_jobs(begin=100_300_000, max_results=50)[1]
    ),
    "search between two times": lambda store, term: store.search_jobs(
        begin=50_000_000, end=90_000_000
    ),
    "search by type": lambda store, term: store.search_jobs(job_name="job-3"),
    "search by a type of which there is none": lambda store, term: store.search_jobs(
        job_name="no-such-job"
    ),
    "search by state": lambda store, term: store.search_jobs(statuses=[JobStatus.FAILED]),
    "search by rare states": lambda store, term: store.search_jobs(
        statuses=[JobStatus.RUNNING, JobStatus.NEEDS_RECOVERY]
    ),
    "search by type and state": lambda store, term: store.search_jobs(
        job_name="capped", statuses=[JobStatus.RUNNING, JobStatus.FAILED]
    ),
    "search by workspace": lambda store, term: store.search_jobs(workspace="team-1"),
    "search by workspace and type": lambda store, term: store.search_jobs(
        workspace="team-1", job_name="job-3"
    ),
    "search by workspace and state": lambda store, term: store.search_jobs(
        workspace="team-1", statuses=[JobStatus.FAILED]
    ),
    "search by creator": lambda store, term: store.search_jobs(creator="user-1"),
    "search by a creator of whom there is none": lambda store, term: store.search_jobs(
        creator="nobody"
    ),
    "search of a later page of a creator": lambda store, term: store.search_jobs(
        creator="user-2",
        page_token=store.search_jobs(creator="user-2", begin=50_000_000, max_results=50)[1],
    ),
    "search by creator and time": lambda store, term: store.search_jobs(
        creator="user-1", begin=50_000_000, end=90_000_000
    ),
    "search by creator and state": lambda store, term: store.search_jobs(
        creator="user-1", statuses=[JobStatus.PENDING]
    ),
    "search by creator and workspace": lambda store, term: store.search_jobs(
        creator="user-1", workspace="team-1"
    ),
    "search by creator and type": lambda store, term: store.search_jobs(
        creator="user-1", job_name="job-3"
    ),
    "unfinished jobs of a type of which there is none": lambda store, term: (
        store.unfinished_lock_keys(["no-such-job"], lambda *_: None)
    ),
    "unfinished jobs of some keys": lambda store, term: store.unfinished_lock_keys(
        ["no-such-job"], lambda *_: None, ["key-1000000", "key-1100000"]
    ),
    "backends that jobs wait for": lambda store, term: store.waiting_backends(),
    "how many wait for a backend": lambda store, term: store.count_waiting("ray", limit=100),
    "whether a backend is served": lambda store, term: store.is_served("no-such-backend"),
    "whether there is work for retention": lambda store, term: store.has_expired(1.0),
    "whether there is none": lambda store, term: store.has_expired(EPOCH),
    "retention": lambda store, term: store.delete_expired(term, 1.0, limit=20),
    "retention of what discovery left": lambda store, term: store.delete_expired(term, None),
    "deletion by age": lambda store, term: store.delete_jobs(older_than=int(EPOCH * 1000)),
    "deletion by id": lambda store, term: store.delete_jobs(job_ids=["row-1100007", "row-1100017"]),
}
# Where an order cannot come from one index alone, what is sorted is a page of each range at most:
# the ranges of a claim's types, or of the states that are searched for.
MERGES = {
    "T2 claim",
    "T2 claim of a single row",
    "T2 idle claim",
    "T2 of a suspect",
    "T2 of a suspect of which there is none",
    "T5 together, and T2",
    "look for anything due of which there is nothing",
    "search",
    "search of a later page",
    "search between two times",
    "search by type",
    "search by a type of which there is none",
    "search by rare states",
    "search by type and state",
    "search by workspace",
    "search by workspace and type",
    "search by creator",
    "search by a creator of whom there is none",
    "search of a later page of a creator",
    "search by creator and time",
    "search by creator and workspace",
    "search by creator and type",
}
# They name rows by their ids.
BY_IDS = ("T2 claim", "T4 renewal", "T5", "T5 together", "T5 together, and T2", "T7", "T10")
# A page of each of the seven states.
ALL_STATES = {
    "search",
    "search of a later page",
    "search between two times",
    "search by type",
    "search by workspace and type",
    "search by creator and type",
}
# Bounded by how many rows are in this state, or are suspects, which is few: recovery sees to them.
# Where statistics know of none, PostgreSQL may read those of one type and sort them.
SORTS_ONE_STATE = {"recovery candidates", "T12", "look for suspects"}


def end_and_claim(store: SqlAlchemyJobStore) -> None:
    ended = [Success(each, "1") for each in running()[14:]]
    # They end once only.
    with contextlib.suppress(NotAllSucceeded):
        claim(store, capacity={"job-1": 3, "job-2": 2}, after=ended)


def remote() -> TokenHolder:
    return TokenHolder(running()[0].job_id, "0" * 64)


def running() -> list[Claim]:
    return [Claim(f"row-{1_000_000 + CAPPED + number}", 1) for number in range(9, 10_000, 500)]


@pytest.fixture(scope="module")
def crowded(_opened_store) -> Iterator[SqlAlchemyJobStore]:
    """A table in which every plan that is not the right one shows."""
    store = _opened_store
    store.clock_offset_ms = 0
    _empty(store)
    with store.engine.begin() as connection:
        rows = _rows()
        connection.execute(tables.jobs.insert().from_select(rows.selected_columns.keys(), rows))
    gather_statistics(store)
    yield store
    _empty(store)


@pytest.fixture(scope="module")
def term(crowded) -> Term:
    return lead(crowded, ttl_seconds=HOUR)


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_reads_short_index_ranges_only(crowded, term, name):
    recorded = record(crowded, lambda: VERBS[name](crowded, term))

    assert recorded
    for statement in recorded:
        plan = explain(crowded, statement)
        assert not plan.scans, plan
        assert not plan.sorts or name in MERGES | SORTS_ONE_STATE, plan
        assert plan.read <= MOST_READ[crowded.db_type] * (3 if name in ALL_STATES else 1), plan


def test_rows_are_found_by_their_ids_where_statistics_know_none_of_their_state(crowded, term):
    if crowded.db_type != "postgresql":
        pytest.skip("only PostgreSQL goes by how many rows had this state when it last looked")
    recorded = [
        statement
        for name in BY_IDS
        for statement in record(crowded, lambda name=name: VERBS[name](crowded, term))
    ]

    with crowded.engine.connect() as connection, connection.begin() as transaction:
        _forget_unfinished_rows(connection)
        for statement in recorded:
            plan = explain_postgresql(connection, *statement)
            connection.exec_driver_sql("DEALLOCATE ALL")
            assert plan.read <= MOST_READ[crowded.db_type], plan
        transaction.rollback()


def test_a_statement_that_scans_and_sorts_is_found_out(crowded):
    """The tests above can fail: this is what they look for."""
    scan = record(crowded, lambda: _run(crowded, select(func.count(tables.jobs.c.params))))
    sort = record(
        crowded,
        lambda: _run(crowded, select(tables.jobs.c.params).order_by(tables.jobs.c.params).limit(5)),
    )

    assert explain(crowded, scan[0]).scans
    assert explain(crowded, scan[0]).read > MOST_READ[crowded.db_type]
    assert explain(crowded, sort[0]).sorts


def test_the_ranges_of_a_claim_are_read_from_the_old_end_without_sorting(crowded):
    (first, *_) = record(crowded, lambda: claim(crowded, capacity={"job-4": 2, "job-5": 2}))
    plan = explain(crowded, first)

    # Two backends, each with new rows and retries; PostgreSQL repeats the plan for each type.
    assert plan.text.count("index_jobs_claim") >= (4 if crowded.db_type == "postgresql" else 8), (
        plan
    )
    assert plan.sorts <= 2, plan


@dataclass(frozen=True)
class Plan:
    """How a database runs a statement: whether it scans the table, how often it sorts, what it read

    To walk an index is no scan; `read` says how far it was walked.
    """

    sql: str
    text: str
    scans: bool
    sorts: int
    read: int

    def __str__(self) -> str:
        return f"read {self.read}: {self.sql}\n{self.text}"


def gather_statistics(store: SqlAlchemyJobStore) -> None:
    """Let the database learn what its tables hold now."""
    # Without INDEX_CLEANUP a few pages of dead entries, left by tests before this one, may stay.
    analyze = {
        "sqlite": "ANALYZE",
        "postgresql": "VACUUM (INDEX_CLEANUP ON, ANALYZE) jobs",
    }
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        result = connection.exec_driver_sql(analyze.get(store.db_type, "ANALYZE TABLE jobs"))
        if result.returns_rows:
            result.all()


def record(store: SqlAlchemyJobStore, action) -> list[tuple[str, Any]]:
    """The statements on jobs that an action sends, with their parameters."""
    # So that what is prepared for a connection is sent, too.
    store.engine.dispose()
    return [each for each in sent_by(store, action) if re.search(r"\bjobs\b", each[0])]


def sent_by(store: SqlAlchemyJobStore, action) -> list[tuple[str, Any]]:
    """All statements that an action sends, with their parameters; without BEGIN."""
    sent = []

    def keep(connection, cursor, statement, parameters, context, executemany):
        sent.append((statement.removeprefix(joined_begin.BEGIN), parameters))

    sqlalchemy.event.listen(store.engine, "before_cursor_execute", keep)
    try:
        action()
    finally:
        sqlalchemy.event.remove(store.engine, "before_cursor_execute", keep)
    return sent


def explain(store: SqlAlchemyJobStore, statement: tuple[str, Any]) -> Plan:
    explained = {
        "sqlite": _explain_sqlite,
        "postgresql": explain_postgresql,
        "mysql": _explain_mysql,
    }
    # On a connection for which nothing is prepared.
    store.engine.dispose()
    with store.engine.connect() as connection:
        try:
            return explained[store.db_type](connection, *statement)
        finally:
            connection.rollback()


def _explain_sqlite(connection, sql, parameters) -> Plan:
    steps = 0

    def count():
        nonlocal steps
        steps += 100

    rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters).all()
    text = "\n".join(row.detail for row in rows)
    driver = connection.connection.driver_connection
    driver.set_progress_handler(count, 100)
    try:
        _fetch(connection.exec_driver_sql(sql, parameters))
    finally:
        driver.set_progress_handler(None, 0)
    return Plan(
        sql,
        text,
        bool(re.search(r"SCAN jobs(?! USING)", text)),
        text.count("USE TEMP B-TREE FOR ORDER BY"),
        steps,
    )


def explain_postgresql(connection, sql, parameters) -> Plan:
    preparation, execute, execution = sql.rpartition("EXECUTE ")
    explained = f"{preparation}EXPLAIN (ANALYZE, FORMAT JSON) {execute}{execution}"
    # The result is that of the last statement.
    analyzed = connection.exec_driver_sql(explained, parameters)
    root = analyzed.scalar_one()[0]["Plan"]
    nodes = list(_nodes(root))
    return Plan(
        sql,
        json.dumps(root, indent=1),
        any(node["Node Type"] == "Seq Scan" and node["Relation Name"] == "jobs" for node in nodes),
        sum("Sort" in node["Node Type"] for node in nodes),
        sum(_rows_read(node) for node in nodes if "Scan" in node["Node Type"]),
    )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _nodes(child)


def _rows_read(node: dict[str, Any]) -> int:
    removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    each_loop = node["Actual Rows"] + sum(node.get(name, 0) for name in removed)
    return int(each_loop * node["Actual Loops"])


def _explain_mysql(connection, sql, parameters) -> Plan:
    rows = connection.exec_driver_sql(f"EXPLAIN {sql}", parameters).all()
    before = _handler_reads(connection)
    _fetch(connection.exec_driver_sql(sql, parameters))
    return Plan(
        sql,
        "\n".join(str(tuple(row)) for row in rows),
        any(row.table == "jobs" and row.type == "ALL" for row in rows),
        sum("filesort" in (row.Extra or "") for row in rows),
        _handler_reads(connection) - before,
    )


def _handler_reads(connection) -> int:
    status = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'")
    return sum(int(value) for name, value in status if name != "Handler_read_rnd_deleted")


def _fetch(result) -> None:
    if result.returns_rows:
        result.all()


def _forget_unfinished_rows(connection) -> None:
    """Statistics of a time when all rows had ended; undone with the transaction."""
    connection.exec_driver_sql("CREATE TEMP TABLE kept ON COMMIT DROP AS TABLE jobs")
    connection.exec_driver_sql("DELETE FROM jobs WHERE status IN (0, 1, 6)")
    connection.exec_driver_sql("ANALYZE jobs")
    connection.exec_driver_sql("INSERT INTO jobs SELECT * FROM kept WHERE kept.status IN (0, 1, 6)")


def _run(store, statement) -> None:
    with store.engine.connect() as connection:
        connection.execute(statement).all()


def _empty(store) -> None:
    with store.engine.begin() as connection:
        for table in (tables.job_locks, tables.jobs, tables.scheduler_leases):
            connection.execute(table.delete())


def _rows() -> sqlalchemy.Select:
    """Rows of one type, due and waiting, and behind them some of everything."""
    number = numbers(CAPPED + OTHERS)
    later = number - CAPPED
    capped = number < CAPPED
    status = case(
        (capped | (later % 10 < 4), JobStatus.PENDING.to_int()),
        (later % 500 == 9, JobStatus.RUNNING.to_int()),
        (later % 500 == 19, JobStatus.NEEDS_RECOVERY.to_int()),
        (later % 10 == 7, JobStatus.FAILED.to_int()),
        (later % 10 == 8, JobStatus.CANCELED.to_int()),
        else_=JobStatus.SUCCEEDED.to_int(),
    )
    text = cast(number + 1_000_000, String(20))
    return select(
        literal("row-").concat(text).label("id"),
        (number * 1000).label("creation_time"),
        case((capped, "capped"), else_=literal("job-").concat(cast(number % 7, String(20)))).label(
            "job_name"
        ),
        literal("{}").label("params"),
        literal("team-").concat(cast(number % 3, String(20))).label("workspace"),
        case(
            (number % 5 == 4, null()),
            else_=literal("user-").concat(cast(number % 5, String(20))),
        ).label("creator"),
        status.label("status"),
        literal(0).label("retry_count"),
        (number * 1000).label("last_update_time"),
        case((number % 4 == 0, null()), (number % 4 == 2, "ray"), else_="local").label(
            "executor_backend"
        ),
        case(
            (~capped & (later % 1000 == 3), 0), (number % 2 == 1, number * 1000), else_=null()
        ).label("next_attempt_at"),
        case((status == JobStatus.RUNNING.to_int(), number), else_=null()).label(
            "lease_expires_at"
        ),
        case((number % 4 == 0, literal("key-").concat(text)), else_=null()).label("lock_key"),
        case(((later % 1000 == 8) & ~capped, "leader"), else_=null()).label("discovered_by"),
        case((status == JobStatus.PENDING.to_int(), 0), else_=1).label("fence"),
    ).where(number < CAPPED + OTHERS)


def numbers(count: int) -> sqlalchemy.ColumnElement[int]:
    """A column of all whole numbers below a power of ten that is large enough."""
    digits = sqlalchemy.union_all(
        *(select(literal_column(str(digit), BigInteger).label("digit")) for digit in range(10))
    )
    places = [digits.subquery() for _ in str(count - 1)]
    joined = places[0]
    for place in places[1:]:
        joined = joined.join(place, sqlalchemy.true())
    number = sum(place.c.digit * 10**power for power, place in enumerate(places))
    return select(number.label("number")).select_from(joined).subquery().c.number
