"""The statements of the busiest verbs, built once for each shape and run with new values each time.

To build a statement costs more than to run it. Here the values are named parameters, so that a
shape (which columns) is built, and turned into text by SQLAlchemy, only once. What the statements
say is said in `statements`. What claims and ends jobs is built in `claims` and `joint_successes`.
"""

from functools import lru_cache

from sqlalchemy import Insert, bindparam
from sqlalchemy.sql.dml import ReturningInsert

from mlflow.store.jobs import dialects, statements
from mlflow.store.jobs.tables import jobs

_SHAPES = 128


@lru_cache(maxsize=_SHAPES)
def create(columns: tuple[str, ...], clock_offset_ms: int) -> Insert:
    """T1 without a term, run with a value for each of these columns."""
    return statements.create(
        {name: bindparam(name, type_=jobs.c[name].type) for name in columns},
        dialects.now_ms(clock_offset_ms),
    )


@lru_cache(maxsize=_SHAPES)
def create_and_tell_time(columns: tuple[str, ...], clock_offset_ms: int) -> ReturningInsert:
    """`create`, answering what the database alone knows of the row."""
    return create(columns, clock_offset_ms).returning(jobs.c.creation_time)
