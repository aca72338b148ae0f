"""The Alembic environment of what the fork adds to the jobs tables; its versions are its own."""

from alembic import context
from sqlalchemy import create_engine

VERSION_TABLE = "alembic_version_jobs"


def _run(connection) -> None:
    context.configure(connection=connection, version_table=VERSION_TABLE)
    with context.begin_transaction():
        context.run_migrations()


connection = context.config.attributes.get("connection")
if connection is not None:
    _run(connection)
else:
    with create_engine(context.config.get_main_option("sqlalchemy.url")).begin() as own:
        _run(own)
