"""Run work in a transaction, again when the database undid it because of concurrent work."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from mlflow.store.jobs import at_hand, dialects, joined_begin
from mlflow.store.jobs.errors import JobStoreUnavailable

T = TypeVar("T")

_ATTEMPTS = 6
_FIRST_PAUSE_SECONDS = 0.01


class Raced(Exception):
    """A concurrent transaction changed what this one had read; it is worth another attempt."""


class Transactions:
    """The three ways in which the store uses one engine."""

    def __init__(self, engine: Engine, pause: Callable[[float], None] = time.sleep):
        # The row count is the answer, and some drivers forget that of an INSERT. An engine with
        # options of its own would look for listeners in two places, several times a statement.
        engine.update_execution_options(preserve_rowcount=True)
        self._engine = engine
        self._transactional = dialects.transactional(self._engine)
        self._joins_begin = joined_begin.enable(engine)
        self._pause = pause

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run work that only reads."""
        return self._attempt(lambda: self._read_once(work))

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run work whose statements apply together or not at all."""
        return self._attempt(lambda: self._write_once(work))

    def write_statement(self, work: Callable[[Connection], T]) -> T:
        """Run work of which each statement stands alone and commits by itself."""
        return self._attempt(lambda: self._write_statement_once(work))

    def _read_once(self, work: Callable[[Connection], T]) -> T:
        with dialects.reading(self._engine) as connection:
            return work(connection)

    def _write_once(self, work: Callable[[Connection], T]) -> T:
        if self._joins_begin:
            with at_hand.connect(self._engine) as connection, joined_begin.transaction(connection):
                return work(connection)
        with at_hand.connect(self._transactional) as connection, connection.begin():
            dialects.begin(connection)
            return work(connection)

    def _write_statement_once(self, work: Callable[[Connection], T]) -> T:
        with dialects.self_committing(self._engine) as connection:
            dialects.begin(connection)
            return work(connection)

    def _attempt(self, once: Callable[[], T]) -> T:
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._pause(_FIRST_PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1.5))
            try:
                return once()
            except Raced:
                problem = "concurrent changes kept undoing this one"
            except DBAPIError as error:
                problem = _describe(error)
                if not dialects.is_retryable(error, self._engine.dialect.name):
                    break
            except SQLAlchemyError as error:
                problem = type(error).__name__
                break
        # Outside of the handlers: the driver's error quotes the values of the statement.
        raise JobStoreUnavailable(problem)


def _describe(error: DBAPIError) -> str:
    lines = str(error.orig).splitlines()
    return f"{type(error.orig).__name__}: {lines[0] if lines else ''}"
