"""A connection of its own that a PostgreSQL server pushes notifications to, by either driver."""

from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

DRIVERS = ("psycopg2", "psycopg")

# A peer that is gone without a word is noticed after some forty seconds.
_KEEPALIVE = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "keepalives_count": 4,
}


class Listening:
    """LISTEN on one channel.

    Errors of the driver pass as they are; after one the connection is of no more use.
    """

    def __init__(self, url: URL, channel: str) -> None:
        """Connect and listen.

        Args:
            url: Database and driver. What it says of timeouts and keepalives is kept.
            channel: A plain identifier.
        """
        ours = {name: value for name, value in _KEEPALIVE.items() if name not in url.query}
        engine = create_engine(
            url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=ours
        )
        self._driver = engine.dialect.driver
        self._pooled = engine.raw_connection()
        try:
            self._connection: Any = self._pooled.driver_connection
            cursor = self._pooled.cursor()
            cursor.execute(f"LISTEN {channel}")
            cursor.close()
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """What becomes readable when something has arrived, if only the connection's end."""
        return self._connection.fileno()

    def arrived(self) -> list[str]:
        """The payloads that have arrived since the last call; does not wait for any."""
        return self._of_psycopg2() if self._driver == "psycopg2" else self._of_psycopg()

    def close(self) -> None:
        """End the connection."""
        # Not back to the pool by way of a rollback: the server may be gone.
        self._pooled.invalidate()
        self._pooled.close()

    def _of_psycopg2(self) -> list[str]:
        self._connection.poll()
        payloads = [each.payload for each in self._connection.notifies]
        del self._connection.notifies[:]
        return payloads

    def _of_psycopg(self) -> list[str]:
        low_level = self._connection.pgconn
        low_level.consume_input()
        payloads = []
        while notification := low_level.notifies():
            payloads.append(notification.extra.decode())
        return payloads
