"""Bring the fork's own columns to a database, and refuse one that lacks them.

They are a second Alembic environment beside MLflow's, with a version table of its own, so that
stock MLflow, which knows only its own head, still opens the database. Where that environment is
not installed, its revisions are links of MLflow's own chain and there is nothing to do here.
"""

from pathlib import Path

from sqlalchemy.engine import Engine

from mlflow.store.jobs import dialects
from mlflow.store.jobs.errors import JobsSchemaOutOfDate

VERSION_TABLE = "alembic_version_jobs"
_ENVIRONMENT = Path(__file__).parent / "migrations"


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
    if not _is_installed():
        return
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    expected = ScriptDirectory.from_config(_config()).get_current_head()
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        found = context.get_current_revision()
    if found != expected:
        raise JobsSchemaOutOfDate(found, expected)


def _is_installed() -> bool:
    return (_ENVIRONMENT / "env.py").exists()


def _config(connection=None):
    # Alembic is slow to import, and most processes that open the store need it only to verify.
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_ENVIRONMENT).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = VERSION_TABLE
    return config
