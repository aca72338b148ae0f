"""A real database of each kind for one test or session; the servers come from the environment."""

import contextlib
import os
import uuid
from collections.abc import Iterator

import pytest
import sqlalchemy

KINDS = ["sqlite", "postgresql", "mysql"]
SERVERS = {
    "postgresql": ("TEST_POSTGRES_URI", "postgresql+psycopg2://postgres@127.0.0.1:5432/postgres"),
    "mysql": ("TEST_MYSQL_URI", "mysql+pymysql://root@127.0.0.1:3306/mysql"),
}
LEASE_SECONDS = 30.0


@contextlib.contextmanager
def fresh_database(kind: str, directory: os.PathLike) -> Iterator[str]:
    """Yields the URI of an empty database that lasts as long as the context."""
    if kind == "sqlite":
        yield f"sqlite:///{directory}/jobs.db"
        return
    server = _reach(kind)
    name = f"mlflow_jobs_{uuid.uuid4().hex[:12]}"
    forced = " WITH (FORCE)" if kind == "postgresql" else ""
    _run(server, f"CREATE DATABASE {name}")
    try:
        yield server.url.set(database=name).render_as_string(hide_password=False)
    finally:
        _run(server, f"DROP DATABASE {name}{forced}")
        server.dispose()


def _reach(kind: str) -> sqlalchemy.engine.Engine:
    variable, default = SERVERS[kind]
    uri = os.environ.get(variable, default)
    problem = f"{variable} is empty"
    if uri:
        server = sqlalchemy.create_engine(uri, isolation_level="AUTOCOMMIT")
        try:
            server.connect().close()
            return server
        except sqlalchemy.exc.SQLAlchemyError as error:
            problem = str(error)
    if os.environ.get("CI") == "true":
        pytest.fail(f"{kind} is not to be had: {problem}")
    return pytest.skip(f"{kind} WAS NOT TESTED: {problem}")


def _run(server: sqlalchemy.engine.Engine, statement: str) -> None:
    with server.connect() as connection:
        connection.exec_driver_sql(statement)
