"""Delete terminal jobs: past their time to live, and for `mlflow gc`."""

from collections.abc import Collection, Iterator

from sqlalchemy import ColumnElement, Select, and_, exists, literal_column, or_, select
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
    if job_ids is None:
        ranges = [statements.in_states({each}) for each in sorted(TERMINAL)]
    else:
        ranges = [jobs.c.id.in_(chosen) for chosen in _chunks(job_ids)]
    ids = []
    for each in ranges:
        ids += connection.scalars(select(jobs.c.id).where(each, *wanted)).all()
    for chunk in _chunks(ids):
        connection.execute(statements.remove(chunk, now))
    return ids


def delete_expired(
    connection: Connection, ttl_ms: int | None, limit: int, now: ColumnElement
) -> int:
    """Delete rows that have been terminal for longer than the time to live.

    A terminal row's `last_update_time` is when it became terminal, on rows of stock MLflow too.
    """
    ids = []
    for oldest in _oldest(ttl_ms, now):
        if len(ids) < limit:
            ids += connection.scalars(oldest.limit(limit - len(ids)))
    deleted = 0
    for chunk in _chunks(ids):
        deleted += connection.execute(statements.remove(chunk, now)).rowcount
    return deleted


def any_expired(ttl_ms: int | None, now: ColumnElement) -> Select:
    """One row if `delete_expired` would find any."""
    ranges = [exists(each.limit(1)) for each in _oldest(ttl_ms, now)]
    return select(literal_column("1")).where(or_(*ranges))


def _oldest(ttl_ms: int | None, now: ColumnElement) -> list[Select]:
    """The index ranges in which rows are too old.

    In the order of the index: rows that have ended may lie far behind others in the table.
    """
    discovered = expired(jobs.c.last_update_time < now - _DAY_MS, CANCELED, discovered=True)
    ranges = [select(jobs.c.id).where(discovered)]
    if ttl_ms is not None:
        # SQLite takes a partial index only where its condition is named.
        ended = and_(statements.in_states(TERMINAL), jobs.c.last_update_time < now - ttl_ms)
        ranges += [
            select(jobs.c.id).where(expired(ended, status)).order_by(jobs.c.last_update_time)
            for status in sorted(TERMINAL)
        ]
    return ranges


def expired(aged, status, discovered: bool = False) -> ColumnElement[bool]:
    """Rows of one terminal state and age; one index range."""
    created = [jobs.c.discovered_by.is_not(None)] if discovered else []
    return and_(statements.in_states({status}), aged, *created)


def _chunks(ids: Collection[str]) -> Iterator[list[str]]:
    ids = list(ids)
    for start in range(0, len(ids), _CHUNK):
        yield ids[start : start + _CHUNK]
