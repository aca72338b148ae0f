"""Is a pooled connection alive? Asked of its socket if it was in use just now."""

import select
import time
import weakref
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

# In the dictionary of a connection that was last used before it went back to its pool.
IDLE_SINCE = "mlflow_jobs_idle_since"

_SILENT_PING_SECONDS = 60.0


class SilentPing:
    """What a pool asks of a connection before it gives it out.

    A server that ends a connection says so on it, and then there is something to read. A connection
    that was idle for long may have been forgotten on the way without a word, so it is asked by a
    statement, as every one is otherwise.
    """

    def __init__(self, engine: Engine) -> None:
        self._ping = engine.dialect.do_ping
        self._used_at: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()
        event.listen(engine, "checkin", self._note_use)

    def __call__(self, dbapi_connection: Any) -> bool:
        idle_since = self._used_at.get(dbapi_connection, float("-inf"))
        if time.monotonic() - idle_since < _SILENT_PING_SECONDS and not speaks(dbapi_connection):
            return True
        return self._ping(dbapi_connection)

    def _note_use(self, dbapi_connection: Any, record: Any) -> None:
        if dbapi_connection is not None:
            idle_since = record.info.pop(IDLE_SINCE, None)
            self._used_at[dbapi_connection] = idle_since or time.monotonic()


def speaks(dbapi_connection: Any) -> bool:
    """Whether the server has sent something unasked, mostly that it is gone; psycopg(2) alone."""
    if dbapi_connection.closed or not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(dbapi_connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
