"""Send BEGIN with the first statement of a transaction, where the driver would send it alone.

psycopg2 begins a transaction by a message of its own, and waits for its answer before it sends what
the transaction is for. Here it is told to begin none, and both go as one message.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED; "
_IS_DUE = "mlflow_jobs_begin_is_due"


def enable(engine: Engine) -> bool:
    """Prepare an engine for `transaction`; whether its driver needs that. May be called again."""
    if engine.dialect.driver != "psycopg2":
        return False
    if not event.contains(engine, "before_cursor_execute", _send_begin):
        event.listen(engine, "before_cursor_execute", _send_begin, retval=True)
    return True


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """A transaction that is committed with the context, or rolled back if that raises.

    Args:
        connection: Of an engine that was prepared for it; nothing has been executed on it yet.
    """
    driver, info = connection.connection.driver_connection, connection.info
    driver.autocommit = True
    info[_IS_DUE] = True
    try:
        yield
        if not info.pop(_IS_DUE, False):
            _commit(connection, driver)
    except BaseException:
        _roll_back(connection, driver)
        raise
    finally:
        info.pop(_IS_DUE, None)
        if not driver.closed:
            driver.autocommit = False


def _commit(connection: Connection, driver: Any) -> None:
    dialect = connection.dialect
    try:
        with driver.cursor() as cursor:
            cursor.execute("COMMIT")
    except dialect.dbapi.Error as error:
        raise DBAPIError.instance(
            "COMMIT", (), error, dialect.dbapi.Error, dialect=dialect
        ) from error


def _roll_back(connection: Connection, driver: Any) -> None:
    connection.info.pop(_IS_DUE, None)
    if driver.closed or connection.invalidated:
        return
    try:
        # Anything but idle, which is zero.
        if driver.get_transaction_status():
            with driver.cursor() as cursor:
                cursor.execute("ROLLBACK")
    except connection.dialect.dbapi.Error:
        # What it has begun must not be there for whoever is given the connection next.
        connection.invalidate()


def _send_begin(connection, cursor, statement, parameters, context, executemany) -> tuple[str, Any]:
    if connection.info.pop(_IS_DUE, False):
        if executemany:
            # Its statement is sent once for each of the parameters.
            cursor.execute(BEGIN)
        else:
            statement = BEGIN + statement
    return statement, parameters
