"""Which backends the rows name: what waits for one, and whether it is served. Keeps I10.

The backends are found by a step from one to the next, so that neither their rows nor those of
another are counted.
"""

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.engine import Connection

from mlflow.store.jobs.statements import in_states, pending
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.transitions import RUNNING

# More than anybody configures; a name of each job would be no backend's.
_MOST_BACKENDS = 100


def waiting(connection: Connection) -> list[str]:
    """The backends that PENDING rows name, in order."""
    found: list[str] = []
    while len(found) < _MOST_BACKENDS:
        # Not the first in order: MariaDB walks to it from the first row of this state.
        following = select(func.min(jobs.c.executor_backend)).where(
            pending(), jobs.c.executor_backend > (found[-1] if found else "")
        )
        step = connection.execute(following).scalar_one()
        if step is None:
            break
        found.append(step)
    return found


def count_waiting(connection: Connection, backend: str, limit: int) -> int:
    """How many PENDING rows name this backend; no more are read than the limit."""
    some = (
        select(jobs.c.id)
        .where(pending(), jobs.c.executor_backend == backend)
        .limit(limit)
        .subquery()
    )
    return connection.execute(select(func.count()).select_from(some)).scalar_one()


def is_served(connection: Connection, backend: str, now: ColumnElement) -> bool:
    """Whether a job of this backend runs under a live lease."""
    live = (
        select(jobs.c.id)
        .where(
            in_states({RUNNING}),
            jobs.c.executor_backend == backend,
            jobs.c.lease_expires_at >= now,
        )
        .limit(1)
    )
    return connection.execute(live).first() is not None
