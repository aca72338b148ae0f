"""Delete terminal jobs: past their time to live, and for `mlflow gc`."""

from collections.abc import Collection, Iterator

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.engine import Connection

from mlflow.store.jobs import statements
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.transitions import CANCELED, TERMINAL

_DAY_MS = 24 * 60 * 60 * 1000
_CHUNK = 500


def delete(
    connection: Connection,
    visible: list[ColumnElement[bool]],
    older_than_ms: int,
    job_ids: Collection[str] | None,
    now: ColumnElement,
) -> list[str]:
    """Delete terminal rows by age of creation and by id; answer the ids."""
    wanted = [statements.removable(now), *visible]
    if older_than_ms > 0:
        wanted.append(jobs.c.creation_time < now - older_than_ms)
    ids = []
    for chosen in [[]] if job_ids is None else _chunks(job_ids):
        of_these = [jobs.c.id.in_(chosen)] if chosen else []
        ids += connection.scalars(select(jobs.c.id).where(*wanted, *of_these)).all()
    for chunk in _chunks(ids):
        connection.execute(statements.remove(chunk, now))
    return ids


def delete_expired(
    connection: Connection, ttl_ms: int | None, limit: int, now: ColumnElement
) -> int:
    """Delete rows that have been terminal for longer than the time to live.

    A terminal row's `last_update_time` is when it became terminal, on rows of stock MLflow too.
    """
    aged = expired(jobs.c.last_update_time < now - _DAY_MS, CANCELED, discovered=True)
    found = select(jobs.c.id).where(aged).limit(limit)
    ids = list(connection.scalars(found))
    if ttl_ms is not None and len(ids) < limit:
        for status in sorted(TERMINAL):
            aged = expired(jobs.c.last_update_time < now - ttl_ms, status)
            ids += connection.scalars(select(jobs.c.id).where(aged).limit(limit - len(ids)))
    deleted = 0
    for chunk in _chunks(ids):
        deleted += connection.execute(statements.remove(chunk, now)).rowcount
    return deleted


def expired(aged, status, discovered: bool = False) -> ColumnElement[bool]:
    """Rows of one terminal state and age; one index range."""
    created = [jobs.c.discovered_by.is_not(None)] if discovered else []
    return and_(statements.in_states({status}), aged, *created)


def _chunks(ids: Collection[str]) -> Iterator[list[str]]:
    ids = list(ids)
    for start in range(0, len(ids), _CHUNK):
        yield ids[start : start + _CHUNK]
