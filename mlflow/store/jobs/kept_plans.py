"""Let PostgreSQL keep the plans of the busiest statements. Keeps I10.

To plan a claim takes PostgreSQL longer than to run it. A plan that is kept must suit the table also
when that has grown: made while there were ten rows it would read all of them, and go on to read all
when there are a million. So these statements are planned without the choice to read a whole table,
and find rows by their indexes from the first one on; which indexes, they say themselves
(`still_in`, `pending`).

Both settings hold for one transaction. Behind a pooler that shares sessions among clients
(PgBouncer in transaction mode) what was prepared is not there the next time, or there already. The
transaction is then repeated, and no plan is kept from there on. A name is made of what is prepared
under it, so that it never stands for another statement.

With psycopg2 alone: psycopg keeps plans itself, and other drivers are asked for none.
"""

import hashlib
import weakref
from typing import Any

from sqlalchemy import Compiled
from sqlalchemy.engine import Connection, CursorResult, Dialect
from sqlalchemy.exc import DBAPIError

from mlflow.store.jobs.dialects import is_of_shared_session

_PREPARED = "mlflow_jobs_prepared"
_SETTINGS = "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off; "

_given_up: weakref.WeakSet[Dialect] = weakref.WeakSet()


def keeps_plans(dialect: Dialect) -> bool:
    """Whether the connections of an engine with this dialect keep plans."""
    return dialect.driver == "psycopg2" and dialect not in _given_up


class KeptPlan:
    """A statement that is prepared once for a connection, and executed by its name."""

    def __init__(self, compiled: Compiled, dialect: Dialect) -> None:
        names = [*compiled.bind_names.values()]
        numbers = {name: f"${number}" for number, name in enumerate(names, 1)}
        types = ", ".join(each.type.compile(dialect) for each in compiled.bind_names)
        body = f"({types}) AS {compiled.string % numbers}"
        values = ", ".join(f"%({name})s" for name in names)
        self._name = f"mlflow_jobs_{hashlib.sha256(body.encode()).hexdigest()[:16]}"
        self._prepare = f"PREPARE {self._name}{body}; ".replace("%", "%%")
        self._execute = f"{_SETTINGS}EXECUTE {self._name}({values})"

    def execute(self, connection: Connection, values: dict[str, Any]) -> CursorResult[Any]:
        """Run it with a value for each of its parameters, by one message to the server."""
        prepared = connection.info.setdefault(_PREPARED, set())
        text = self._execute
        if self._name not in prepared:
            # Also if what follows fails: no rollback takes it back.
            prepared.add(self._name)
            text = self._prepare + text
        try:
            return connection.exec_driver_sql(text, values)
        except DBAPIError as error:
            if is_of_shared_session(error):
                _given_up.add(connection.dialect)
            raise
