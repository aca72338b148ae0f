"""Empty databases for a benchmark, and the statements that reach them.

PostgreSQL is started for the run. It is durable, as in production, unless told otherwise.
"""

import contextlib
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy

from dev.bench.servers import idle
from dev.testing.databases import start_postgres

DURABLE = ["-c", "fsync=on", "-c", "synchronous_commit=on", "-c", "full_page_writes=on"]


class Databases:
    """Makes databases of two kinds below one directory.

    Attributes:
        statements: The directory of PostgreSQL's statement log.
    """

    def __init__(self, directory: Path, postgres_uri: str, statements: Path) -> None:
        self._directory = directory
        self._server = sqlalchemy.create_engine(postgres_uri, isolation_level="AUTOCOMMIT")
        self.statements = statements

    @contextlib.contextmanager
    def empty(self, kind: str) -> Iterator[str]:
        """Yields the URI of an empty database that lasts as long as the context."""
        name = f"bench_{uuid.uuid4().hex[:12]}"
        if kind == "sqlite":
            folder = self._directory / name
            folder.mkdir()
            yield f"sqlite:///{folder / 'bench.db'}"
            return
        self._run(f"CREATE DATABASE {name}")
        try:
            yield self._server.url.set(database=name).render_as_string(hide_password=False)
        finally:
            self._run(f"DROP DATABASE {name} WITH (FORCE)")

    @contextlib.contextmanager
    def logging(self) -> Iterator[None]:
        """PostgreSQL logs the statements of all connections meanwhile."""
        self._log("all")
        try:
            yield
        finally:
            self._log("none")

    def close(self) -> None:
        self._server.dispose()

    def _log(self, which: str) -> None:
        self._run(f"ALTER SYSTEM SET log_statement = '{which}'")
        self._run("SELECT pg_reload_conf()")
        # Every session reads it anew by itself.
        time.sleep(0.5)

    def _run(self, statement: str) -> None:
        with self._server.connect() as connection:
            connection.exec_driver_sql(statement)


@contextlib.contextmanager
def databases(directory: Path, durable: bool = True) -> Iterator[Databases]:
    """Starts a PostgreSQL, and stops it at the end."""
    statements = directory / "statements"
    statements.mkdir()
    directory.chmod(0o755)
    options = [*idle.statement_log_options(statements), *(DURABLE if durable else [])]
    with start_postgres(options) as uri:
        made = Databases(directory, uri, statements)
        try:
            yield made
        finally:
            made.close()
