"""Keep the connection that was used last at hand, beside the pool that it is from.

To take a connection from the pool and to give it back takes as long as a quarter of a transaction,
where one comes by itself after a pause. So one connection may stay with its engine in between. The
pool's promises hold: one that was taken a minute ago goes through the pool before it is used again,
which recycles it, or asks whether it is alive; it is kept only while at least half of the pool is
free, so that nobody waits for a connection which lies idle; and it is disposed of with the pool.

For the drivers that begin no transaction, or that can be told not to without a statement, since
what is kept must be in none.
"""

import os
import time
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import Pool, QueuePool

from mlflow.store.jobs.silent_ping import IDLE_SINCE, speaks

_KEPT_SECONDS = 60.0


@dataclass(frozen=True)
class _Taken:
    connection: Connection
    pool: Pool
    until: float
    pid: int


_kept: weakref.WeakKeyDictionary[Engine, deque[_Taken]] = weakref.WeakKeyDictionary()


def enable(engine: Engine) -> None:
    """Let connections of this engine be kept. May be called again."""
    if engine not in _kept:
        _kept[engine] = deque()
        event.listen(engine, "engine_disposed", _dispose)


@contextmanager
def connect(engine: Engine) -> Iterator[Connection]:
    """A connection without a transaction, which leaves none to the database either."""
    kept = _kept.get(engine)
    taken = _take(engine, kept)
    try:
        yield taken.connection
    except BaseException:
        taken.connection.close()
        raise
    # A pool that was disposed of meanwhile is followed by another.
    if kept is None or kept or taken.pool is not engine.pool or not _may_stay(taken):
        taken.connection.close()
    else:
        # SQLAlchemy takes what committed by itself for a transaction that is still open.
        taken.connection.rollback()
        taken.connection.info[IDLE_SINCE] = time.monotonic()
        kept.append(taken)


def _take(engine: Engine, kept: deque[_Taken] | None) -> _Taken:
    if kept:
        try:
            taken = kept.pop()
        except IndexError:
            # Another thread was faster.
            pass
        else:
            if time.monotonic() < taken.until and not _is_gone(taken.connection):
                taken.connection.info.pop(IDLE_SINCE, None)
                return taken
            taken.connection.close()
    pool = engine.pool
    return _Taken(engine.connect(), pool, time.monotonic() + _KEPT_SECONDS, os.getpid())


def _is_gone(connection: Connection) -> bool:
    return connection.dialect.name != "sqlite" and speaks(connection.connection.driver_connection)


def _may_stay(taken: _Taken) -> bool:
    connection, pool = taken.connection, taken.pool
    if connection.closed or connection.invalidated:
        return False
    if getattr(connection.connection.driver_connection, "closed", False):
        return False
    return isinstance(pool, QueuePool) and 2 * pool.checkedout() <= pool.size()


def _dispose(engine: Engine) -> None:
    for taken in _drained(_kept[engine]):
        # One of a parent is the parent's to end.
        if taken.pid == os.getpid():
            taken.connection.invalidate()
            taken.connection.close()


def _drained(kept: deque[_Taken]) -> Iterator[_Taken]:
    while kept:
        yield kept.pop()
