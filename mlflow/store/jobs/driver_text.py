"""A statement as text of its driver: made once, run again and again with new values.

SQLAlchemy looks at a statement and at each of its values every time it is executed, which takes
longer than the database does for a few rows. Here that is done once. What is left of its work for
each execution are the errors and the events of a connection.
"""

from functools import lru_cache
from typing import Any

from sqlalchemy import ClauseElement, Compiled
from sqlalchemy.engine import Connection, CursorResult, Dialect

from mlflow.store.jobs.kept_plans import KeptPlan, keeps_plans

_STATEMENTS = 512


def execute(
    connection: Connection, statement: ClauseElement, values: dict[str, Any]
) -> CursorResult[Any]:
    """Run a statement that its caller keeps, with these values.

    Args:
        connection: Where to run it.
        statement: The same object each time. Its columns are answered as the driver has them.
        values: One for each of its parameters that has none.
    """
    text = _text_of(statement, connection.dialect)
    return connection.execute(statement, values) if text is None else text.run(connection, values)


class _DriverText:
    def __init__(self, compiled: Compiled, dialect: Dialect) -> None:
        self._text = compiled.string
        self._places = compiled.positiontup
        self._values: dict[str, Any] = {}
        self._converters: dict[str, Any] = {}
        for parameter, name in compiled.bind_names.items():
            self._values[name] = parameter.effective_value
            if convert := parameter.type.dialect_impl(dialect).bind_processor(dialect):
                self._converters[name] = convert
        self._plan = KeptPlan(compiled, dialect) if keeps_plans(dialect) else None

    def run(self, connection: Connection, values: dict[str, Any]) -> CursorResult[Any]:
        values = {**self._values, **values}
        for name, convert in self._converters.items():
            values[name] = convert(values[name])
        if self._plan and keeps_plans(connection.dialect):
            return self._plan.execute(connection, values)
        if self._places is not None:
            values = tuple(values[name] for name in self._places)
        return connection.exec_driver_sql(self._text, values)


@lru_cache(maxsize=_STATEMENTS)
def _text_of(statement: ClauseElement, dialect: Dialect) -> _DriverText | None:
    compiled = statement.compile(dialect=dialect)
    # Values that become part of the text only when it is executed.
    if compiled.literal_execute_params or compiled.post_compile_params:
        return None
    return _DriverText(compiled, dialect)
