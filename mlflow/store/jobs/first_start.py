"""Let one server at a time prepare an empty database, so that a whole fleet may start on it.

MLflow creates its first tables, migrates them, has ours added (`schema`) and puts down the default
experiment. It expects to be alone at that: a second server that starts meanwhile fails over a table
that is there already, or takes a half-migrated database for an outdated one. Here it waits, and
finds all done. The default experiment comes last, so a database that has any experiment is not
waited for.

Where the registry has a database of its own, that one is MLflow's alone.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlparse

from sqlalchemy import inspect, text
from sqlalchemy.engine import Engine

from mlflow.store.db.db_types import DATABASE_ENGINES
from mlflow.store.db.utils import create_sqlalchemy_engine_with_retry
from mlflow.store.jobs import dialects
from mlflow.utils.file_utils import ExclusiveFileLock


@contextmanager
def one_at_a_time(uri: str | None) -> Iterator[None]:
    """Around whatever prepares this database, if it is one.

    Args:
        uri: Of the backend store.
    """
    if os.name == "nt" or urlparse(uri or "").scheme.split("+")[0] not in DATABASE_ENGINES:
        yield
        return
    engine = create_sqlalchemy_engine_with_retry(uri)
    try:
        if _has_experiments(engine):
            yield
        elif engine.dialect.name == "sqlite":
            with _file_lock(engine.url.database):
                yield
        else:
            connection = engine.connect()
            try:
                dialects.wait_for_start_lock(connection)
                yield
            finally:
                # Ends the lock. No rollback, as the server may have ended what was idle so long.
                connection.invalidate()
    finally:
        engine.dispose()


def _has_experiments(engine: Engine) -> bool:
    if not inspect(engine).has_table("experiments"):
        return False
    with engine.connect() as connection:
        return connection.execute(text("SELECT COUNT(*) FROM experiments")).scalar_one() > 0


@contextmanager
def _file_lock(database: str | None) -> Iterator[None]:
    # Not the database's own file: to close that drops the locks which this process has on it.
    name = hashlib.sha256(os.path.realpath(database or "").encode()).hexdigest()[:32]
    path = os.path.join(tempfile.gettempdir(), f"mlflow_start_lock-{os.getuid()}-{name}")
    with ExclusiveFileLock(path):
        yield
