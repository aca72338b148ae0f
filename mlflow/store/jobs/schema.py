"""Bring the fork's own columns to a database, and refuse one that lacks them.

They are a second Alembic environment beside MLflow's, with a version table of its own, so that
stock MLflow, which knows only its own head, still opens the database. Where that environment is
not installed, its revisions are links of MLflow's own chain and there is nothing to do here.
"""

from pathlib import Path

from sqlalchemy import column, inspect, select, table
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

from mlflow.store.jobs import dialects
from mlflow.store.jobs.errors import JobsSchemaOutOfDate

VERSION_TABLE = "alembic_version_jobs"
# Known without Alembic, which is slow to import and to read its revisions.
HEAD = "8c0f3d5a71be"
_ENVIRONMENT = Path(__file__).parent / "migrations"
_revision = select(column("version_num")).select_from(table(VERSION_TABLE))


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Apply what is missing; nothing when all is there. Safe when several servers start at once."""
    if not _is_installed():
        return
    from alembic import command

    with engine.begin() as connection, dialects.schema_lock(connection):
        command.upgrade(_config(connection), revision)


def downgrade(engine: Engine, revision: str = "base") -> None:
    """Take back what `upgrade` added, with what those columns hold."""
    if not _is_installed():
        return
    from alembic import command

    with engine.begin() as connection, dialects.schema_lock(connection):
        command.downgrade(_config(connection), revision)


def verify(engine: Engine) -> None:
    """Check that this release's columns are there.

    Raises:
        JobsSchemaOutOfDate: They are not; the message says what to run.
    """
    if _is_installed() and (found := _revision_of(engine)) != HEAD:
        raise JobsSchemaOutOfDate(found, HEAD)


def is_current(engine: Engine) -> bool:
    """Whether this database is known to have all tables and columns; asks for one row."""
    return _is_installed() and _revision_of(engine) == HEAD


def _revision_of(engine: Engine) -> str | None:
    """None where `upgrade` never was."""
    try:
        with engine.connect() as connection:
            return connection.execute(_revision).scalar()
    except DBAPIError:
        if inspect(engine).has_table(VERSION_TABLE):
            raise
        return None


def _is_installed() -> bool:
    return (_ENVIRONMENT / "env.py").exists()


def _config(connection):
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_ENVIRONMENT).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = VERSION_TABLE
    return config
