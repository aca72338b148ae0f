"""All that differs between the databases: their time, locks, races and transactions. Keeps I7."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Table,
    any_,
    cast,
    column,
    event,
    func,
    text,
)
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import QueuePool
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.functions import FunctionElement

from mlflow.store.jobs import at_hand
from mlflow.store.jobs.silent_ping import SilentPing

_logger = logging.getLogger(__name__)

# Far below what any of them could hold; a row is read whole, in web workers too.
_MOST_TEXT_BYTES = 32 * 1024 * 1024
_SELF_COMMITTING = "self_committing"
_WHEN_COMMITTED = "mlflow_jobs_when_committed"
_SQLITE_BUSY_MS = 20_000
_SQLITE_IS_SET_UP = "mlflow_jobs_is_set_up"
_MYSQL_ESCAPED = "\\'\"\n\r\x1a"
_IDLE_TRANSACTION_SECONDS = 10
_LOCK_WAIT_SECONDS = 10
_SCHEMA_LOCK_SECONDS = 600
_SCHEMA_LOCK_ID = 4_905_611_380_201
_SCHEMA_LOCK_NAME = "mlflow_jobs_schema"
_START_LOCK_ID = 4_905_611_380_202
_START_LOCK_NAME = "mlflow_start"


class now_ms(FunctionElement):
    """The database's time in epoch milliseconds, plus the given offset, as of this statement.

    It is constant within a statement, so that an index can serve a comparison with it.
    """

    type = BigInteger()
    name = "now_ms"
    inherit_cache = True

    def __init__(self, offset_ms: int = 0) -> None:
        super().__init__(offset_ms)
        self.offset_ms = offset_ms


# An expression is never changed, and to make one costs more than to use it.
now = lru_cache(maxsize=128)(now_ms)


@compiles(now_ms, "postgresql")
def _postgresql_now(element, compiler, **kwargs):
    offset = compiler.process(element.clauses, **kwargs)
    return f"(CAST(FLOOR(EXTRACT(EPOCH FROM statement_timestamp()) * 1000) AS BIGINT) + {offset})"


@compiles(now_ms, "mysql", "mariadb")
def _mysql_now(element, compiler, **kwargs):
    offset = compiler.process(element.clauses, **kwargs)
    since = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3))"
    return f"({since} DIV 1000 + {offset})"


@compiles(now_ms, "sqlite")
def _sqlite_now(element, compiler, **kwargs):
    offset = compiler.process(element.clauses, **kwargs)
    return f"(CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) + {offset})"


@compiles(now_ms, "mssql")
def _mssql_now(element, compiler, **kwargs):
    offset = compiler.process(element.clauses, **kwargs)
    return f"(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + {offset})"


class status_as_indexed(FunctionElement):
    """The status of a row, as the condition of the index of claims reads it.

    On PostgreSQL no other index may serve a claim. Where statistics are of a time when nothing was
    pending, all of them seem equally short, and after a burst of submissions each claim would read
    and sort all that waits. So there it is an expression which only that index has.
    """

    type = Integer()
    name = "status_as_indexed"
    inherit_cache = True


@compiles(status_as_indexed)
def _status(element, compiler, **kwargs):
    (status,) = element.clauses
    return compiler.process(status, **kwargs)


@compiles(status_as_indexed, "postgresql")
def _postgresql_status(element, compiler, **kwargs):
    return f"abs({_status(element, compiler, **kwargs)})"


def index_order(
    dialect: str, constant: list[ColumnElement], then: list[ColumnElement]
) -> list[ColumnElement]:
    """Order rows as an index holds them, of which the first columns are the same in all rows.

    PostgreSQL does not see that a column which IS NULL is constant, and sorts, or walks the table
    by another index, unless it is named. MariaDB sorts if it is.
    """
    return then if dialect in ("mysql", "mariadb") else [*constant, *then]


def read_by(statement: Select, table: Table, index: str) -> Select:
    """Read a table by this index, whatever statistics say: they may be of a quiet time.

    On PostgreSQL the condition has to see to that (`status_as_indexed`). SQLite has no statistics
    unless somebody asks for them, and takes the index of which it can use most columns.
    """
    for dialect in ("mysql", "mariadb"):
        statement = statement.with_hint(table, f"FORCE INDEX ({index})", dialect)
    return statement


def searches_resting_rows_apart(dialect: str) -> bool:
    """Whether the indexes for searches leave out the rows that somebody owns.

    PostgreSQL writes a row anew into all of its indexes at each change of the status, the others
    into those that have the status.
    """
    return dialect == "postgresql"


def listed(name: str, **columns: ColumnElement) -> FromClause:
    """A table whose columns are lists of one length, where a list can be a value."""
    rows = func.unnest(*(cast(values, values.type) for values in columns.values()))
    named = [column(each, values.type.item_type) for each, values in columns.items()]
    return rows.table_valued(*named).render_derived(name=name)


def takes_lists(dialect: str) -> bool:
    """Whether a list can be a value of a statement, and a subquery use the columns before it."""
    return dialect == "postgresql"


def is_among(id_column: ColumnElement, found: Select, dialect: str) -> ColumnElement[bool]:
    """A row is named by one of the ids that a subquery finds.

    PostgreSQL might read all rows and ask of each whether it is found. Of a list of ids it knows no
    better than to look them up.
    """
    if takes_lists(dialect):
        return id_column == any_(func.array(found.scalar_subquery()))
    return id_column.in_(found)


def skipping_locked(statement: Select, table: Table) -> Select:
    """Lock the rows that are read, and pass over those that another transaction has locked."""
    # READCOMMITTEDLOCK: a database with row versions refuses READPAST otherwise, and Azure has them
    # on. It excludes ROWLOCK; locked pages are passed over as well.
    return statement.with_for_update(skip_locked=True).with_hint(
        table, "WITH (UPDLOCK, READPAST, READCOMMITTEDLOCK)", "mssql"
    )


def locking(statement: Select, table: Table) -> Select:
    """Lock the rows that are read until the transaction ends."""
    return statement.with_for_update().with_hint(table, "WITH (UPDLOCK, ROWLOCK)", "mssql")


def updates_return_rows(connection: Connection) -> bool:
    """Whether UPDATE can answer the rows that it changed."""
    dialect = connection.dialect
    return getattr(dialect, "update_returning", dialect.name == "postgresql")


def inserts_return_rows(connection: Connection) -> bool:
    """Whether INSERT can answer the row as it stands then, so that it need not be read."""
    return connection.dialect.insert_returning


def updates_return_subqueries(connection: Connection) -> bool:
    """Whether UPDATE can answer what it reads elsewhere at the same time."""
    # SQLite could, but is asked the way that most databases have to be.
    return connection.dialect.name == "postgresql"


def insert_if_absent(connection: Connection, statement: Insert) -> bool:
    """Insert unless a constraint forbids it; a lost race leaves the transaction usable."""
    alone = connection.info.get(_SELF_COMMITTING, False)
    try:
        with nullcontext() if alone else connection.begin_nested():
            return connection.execute(statement).rowcount == 1
    except IntegrityError:
        return False


class _InsertOrLock(Insert):
    """An insert that takes a row which is there already for itself alone, if it locks it at all."""

    inherit_cache = True


@compiles(_InsertOrLock, "mysql", "mariadb")
def _mysql_insert_or_lock(element, compiler, **kwargs):
    # A failed insert would share a lock on the row, and of two that share it none could write.
    (key,) = element.table.primary_key
    inserted = compiler.visit_insert(element, **kwargs)
    return f"{inserted} ON DUPLICATE KEY UPDATE {key.name} = {key.name}"


def insert_or_lock(connection: Connection, table: Table, **values: Any) -> bool:
    """Insert a row unless its key is there.

    Returns:
        True if the row was inserted. After False it has to be read: it may have been.
    """
    inserted = insert_if_absent(connection, _InsertOrLock(table).values(values))
    return inserted and connection.dialect.name not in ("mysql", "mariadb")


def transactional(engine: Engine) -> Engine:
    """The same pool, with transactions in which every statement sees what is committed by then."""
    # A level that is set costs a statement or two for each transaction on most drivers.
    if engine.dialect.name not in ("postgresql", "mysql", "mariadb") or (
        getattr(engine.dialect, "default_isolation_level", None) == "READ COMMITTED"
    ):
        return engine
    return engine.execution_options(isolation_level="READ COMMITTED")


@contextmanager
def self_committing(engine: Engine) -> Iterator[Connection]:
    """A connection with no pause possible between a statement and its commit.

    A process that is stopped in between would hold its locks, and commit what it wrote when it
    wakes. SQLite lets nobody else write meanwhile, so there a transaction is as good.
    """
    if engine.dialect.name == "sqlite":
        with at_hand.connect(engine) as connection:
            info, waiting = connection.info, []
            info[_WHEN_COMMITTED] = waiting
            try:
                with connection.begin():
                    yield connection
            finally:
                del info[_WHEN_COMMITTED]
            for call in waiting:
                call()
        return
    with at_hand.connect(engine) as connection:
        # The dictionary of the driver's connection, also after that is lost.
        info = connection.info
        info[_SELF_COMMITTING] = True
        try:
            with _committing_itself(connection):
                yield connection
        finally:
            info.pop(_SELF_COMMITTING, None)


def call_when_committed(connection: Connection, call: Callable[[], None] | None) -> None:
    """Call as soon as others see what a self-committing connection has written.

    That is now, but for SQLite, where it is the end of the transaction.
    """
    if call is None:
        return
    waiting = connection.info.get(_WHEN_COMMITTED)
    if waiting is None:
        call()
    else:
        waiting.append(call)


@contextmanager
def _committing_itself(connection: Connection) -> Iterator[None]:
    if not _switches_silently(connection.engine):
        connection.execution_options(isolation_level="AUTOCOMMIT")
        yield
        return
    driver = connection.connection.driver_connection
    driver.autocommit = True
    try:
        yield
    finally:
        if not driver.closed:
            driver.autocommit = False


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection for statements that only read, each of what is committed by then."""
    if _switches_silently(engine):
        # Nothing is begun, so nothing has to be rolled back either.
        with self_committing(engine) as connection:
            yield connection
    else:
        with transactional(engine).connect() as connection:
            yield connection


def _switches_silently(engine: Engine) -> bool:
    """Whether the driver begins transactions itself, and can be told not to without a statement."""
    return engine.dialect.driver in ("psycopg2", "psycopg")


def begin(connection: Connection) -> None:
    """Begin a transaction that will write."""
    if connection.dialect.name == "sqlite":
        if _SQLITE_IS_SET_UP not in connection.info:
            # Once for each connection: SQLite parses all its statements anew after these.
            connection.info[_SQLITE_IS_SET_UP] = True
            driver = connection.connection.driver_connection
            driver.execute(f"PRAGMA busy_timeout = {_SQLITE_BUSY_MS}")
            driver.execute("PRAGMA foreign_keys = ON")
        # Taken at once: a reader that turns writer later would fail instead of waiting.
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def prepare(engine: Engine) -> None:
    """Make an engine of ours cheap and lasting to use; may be called again.

    Readers and a writer of one SQLite file work side by side from then on; the file remembers it.
    """
    if _switches_silently(engine) and not isinstance(engine.dialect.do_ping, SilentPing):
        engine.dialect.do_ping = SilentPing(engine)
    if isinstance(engine.pool, QueuePool):
        # The connection that was used last: what its server process has at hand serves again, while
        # taken in turn each would begin cold. A pool that is made anew is like the one before it.
        engine.pool._pool.use_lifo = True
    if _switches_silently(engine) or engine.dialect.name == "sqlite":
        at_hand.enable(engine)
    if engine.dialect.name != "sqlite":
        return
    with engine.connect() as connection:
        try:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        except OperationalError:
            _logger.debug("The SQLite file is in use and keeps its journal mode until next time.")


def limit_held_locks(engine: Engine) -> None:
    """Let the server end what a paused process holds, and nobody wait for ever (I3).

    A process that is stopped within a transaction keeps its row locks, those of the scheduler lease
    perhaps, until its connection ends. The server ends it after a while; that process finds the
    store unavailable when it wakes, and nothing of the transaction applies. The limits are set once
    for each connection, so that they cost no statement later.

    MySQL 8 and MSSQL have no such limit on idle transactions; on MySQL the wait for a lock is
    bounded at least. On SQLite a process that is stopped while it writes stops all writers.
    """
    limit = _LIMITS.get(engine.dialect.name)
    if limit is None or event.contains(engine, "connect", limit):
        return
    event.listen(engine, "connect", limit)
    # Those that are open already have no limits.
    engine.dispose()


def _limit_postgresql(connection: Any, record: Any) -> None:
    _set(
        connection,
        f"SET idle_in_transaction_session_timeout = {_IDLE_TRANSACTION_SECONDS * 1000}; "
        f"SET lock_timeout = {_LOCK_WAIT_SECONDS * 1000}",
    )


def _limit_mysql(connection: Any, record: Any) -> None:
    # MySQL takes for a comment what MariaDB reads.
    _set(
        connection,
        f"SET SESSION innodb_lock_wait_timeout = {_LOCK_WAIT_SECONDS} "
        f"/*M! , idle_transaction_timeout = {_IDLE_TRANSACTION_SECONDS} */",
    )


_LIMITS = {
    "postgresql": _limit_postgresql,
    "mysql": _limit_mysql,
    "mariadb": _limit_mysql,
}


def _set(connection: Any, statement: str) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute(statement)
        connection.commit()
    except Exception as e:  # noqa: BLE001 - whatever a driver raises; the store works without
        connection.rollback()
        _logger.warning("The database refuses limits on held locks: %s", type(e).__name__)
    finally:
        cursor.close()


@dataclass(frozen=True)
class TextLimit:
    """How large one text may be that a statement carries.

    Attributes:
        most_bytes: Its most bytes in UTF-8.
        doubled: Characters that count twice, because the driver writes an escape before them.
        setting: What an operator may raise the limit with; empty if the limit is ours.
    """

    most_bytes: int = _MOST_TEXT_BYTES
    doubled: str = ""
    setting: str = ""

    def size_of(self, text: str) -> int:
        """What a text counts, in bytes."""
        return len(text.encode()) + sum(text.count(each) for each in self.doubled)


def text_limit(connection: Connection) -> TextLimit:
    """How large a text this database takes beside the rest of its row."""
    if connection.dialect.name not in ("mysql", "mariadb"):
        return TextLimit()
    packet = connection.execute(text("SELECT @@max_allowed_packet")).scalar_one()
    # The drivers write values into the statement, and a larger one ends the connection.
    fits = packet * 15 // 16
    if fits >= _MOST_TEXT_BYTES:
        return TextLimit(doubled=_MYSQL_ESCAPED)
    return TextLimit(fits, _MYSQL_ESCAPED, "max_allowed_packet")


def is_retryable(error: DBAPIError, dialect_name: str) -> bool:
    """Whether the database rolled the transaction back only because of concurrent ones."""
    original = error.orig
    if dialect_name == "postgresql":
        return _state_of(error) in ("40001", "40P01", "55P03") or is_of_shared_session(error)
    number = original.args[0] if original is not None and original.args else None
    if dialect_name in ("mysql", "mariadb"):
        return number in (1020, 1205, 1213)
    if dialect_name == "sqlite":
        code = getattr(original, "sqlite_errorcode", None)
        if code is None:
            # Python 3.10 gives no code.
            return "is locked" in str(original)
        return code & 0xFF in (5, 6)
    if dialect_name == "mssql":
        if isinstance(number, tuple):
            number = number[0]
        return number in ("40001", 1205, 1222, 3960)
    return False


def is_of_shared_session(error: DBAPIError) -> bool:
    """Whether PostgreSQL misses what this session prepared, or has it already."""
    return _state_of(error) in ("26000", "42P05")


def _state_of(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)


@contextmanager
def schema_lock(connection: Connection) -> Iterator[None]:
    """Keep other servers that start on this database out of its migrations meanwhile."""
    if connection.dialect.name == "sqlite":
        begin(connection)
    else:
        _take_lock(connection, _SCHEMA_LOCK_NAME, _SCHEMA_LOCK_ID)
    try:
        yield
    finally:
        if connection.dialect.name in ("mysql", "mariadb"):
            connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": _SCHEMA_LOCK_NAME})


def wait_for_start_lock(connection: Connection) -> None:
    """Be the only one that prepares this database, until the connection is closed.

    Not on SQLite, where a lock of the database would keep its preparation out as well.
    """
    _take_lock(connection, _START_LOCK_NAME, _START_LOCK_ID)


def _take_lock(connection: Connection, name: str, number: int) -> None:
    """A lock of this transaction, or of this connection on MySQL; waits for it."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": number})
    elif connection.dialect.name == "mssql":
        connection.execute(
            text(
                "EXEC sp_getapplock @Resource = :name, @LockMode = 'Exclusive', "
                "@LockTimeout = :wait"
            ),
            {"name": name, "wait": _SCHEMA_LOCK_SECONDS * 1000},
        )
    elif connection.dialect.name in ("mysql", "mariadb"):
        connection.execute(
            text("SELECT GET_LOCK(:name, :wait)"), {"name": name, "wait": _SCHEMA_LOCK_SECONDS}
        )
