"""List and page through jobs, oldest first, then by id; a page begins after the last one's end."""

import base64
import binascii
import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select, union_all
from sqlalchemy.engine import Connection

from mlflow.entities._job import Job
from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import dialects, job_row, statements, texts
from mlflow.store.jobs.errors import InvalidJobField
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.transitions import OWNED, RESTING

# With a filter on params, rows are read to be thrown away; this bounds how many for one page.
_MOST_READ = 2_000
_CHUNK = 200

Place = tuple[int, str]
# The conditions of a range: within it, some index has the rows in the order of a listing.
Range = list[ColumnElement[bool]]


def ranges(
    dialect: str,
    whose: list[ColumnElement[bool]],
    others: list[ColumnElement[bool]],
    job_name: str | None,
    statuses: Collection[JobStatus] | None,
) -> list[Range]:
    """Where the wanted jobs are: in one range for each state, or in those of whose they are.

    Args:
        dialect: The name of the database's dialect.
        whose: Conditions on workspace and creator, for which there are indexes.
        others: More conditions.
        job_name: Of this type only.
        statuses: In these states only; not empty.
    """
    wanted = [*whose, *others]
    if job_name is not None:
        wanted.append(jobs.c.job_name == job_name)
    elif statuses is None and whose:
        if not dialects.searches_resting_rows_apart(dialect):
            return [wanted]
        return [[*wanted, statements.in_states(each)] for each in (RESTING, OWNED)]
    states = JobStatus if statuses is None else set(statuses)
    return [[*wanted, statements.in_states({each})] for each in sorted(states)]


def page(
    connection: Connection,
    ranges: list[Range],
    params: dict[str, Any] | None,
    max_results: int,
    after: Place | None = None,
) -> tuple[list[Job], Place | None]:
    """At most so many jobs after a place, and the place where the next page starts, if any."""
    found: list[Job] = []
    read = 0
    while read < max(_MOST_READ, max_results):
        chunk = max_results + 1 if params is None else _CHUNK
        rows = connection.execute(ordered(ranges, after, chunk)).all()
        for row in rows:
            if len(found) == max_results:
                return found, after
            after = (row.creation_time, row.id)
            # Those of an unknown state must not hide all others.
            if job_row.status_of(row) is not None and contains(row.params, params):
                found.append(job_row.to_entity(row))
        if len(rows) < chunk:
            return found, None
        read += len(rows)
    return found, after


def ordered(ranges: list[Range], after: Place | None, limit: int) -> Select:
    """The rows that follow a place: one range in index order, or a page of each, merged."""
    if len(ranges) == 1:
        return _first(select(*job_row.COLUMNS).where(*ranges[0], *_following(after)), limit)
    place = [jobs.c.creation_time, jobs.c.id]
    pages = [
        _first(select(*place).where(*wanted, *_following(after)), limit).subquery()
        for wanted in ranges
    ]
    merged = union_all(*(select(*each.c) for each in pages)).subquery()
    # Whole rows are read of the one page alone that is left of all these.
    ids = select(merged.c.id).order_by(*merged.c).limit(limit).subquery()
    return _first(select(*job_row.COLUMNS).join(ids, ids.c.id == jobs.c.id), limit)


def _following(after: Place | None) -> list[ColumnElement[bool]]:
    if after is None:
        return []
    created, job_id = after
    return [
        jobs.c.creation_time >= created,
        or_(jobs.c.creation_time > created, jobs.c.id > job_id),
    ]


def _first(statement: Select, limit: int) -> Select:
    return statement.order_by(jobs.c.creation_time, jobs.c.id).limit(limit)


def contains(stored: str, params: dict[str, Any] | None) -> bool:
    """Whether the stored params have all of these keys with these values."""
    if not params:
        return True
    try:
        have = json.loads(stored)
    except (TypeError, ValueError, RecursionError):
        return False
    return isinstance(have, dict) and all(
        key in have and have[key] == value for key, value in params.items()
    )


def to_token(place: Place | None) -> str | None:
    """A place as an opaque page token."""
    return None if place is None else base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def from_token(token: str | None) -> Place | None:
    """The place of a page token.

    Raises:
        InvalidJobField: `page_token` was not given by this store.
    """
    if not token:
        return None
    try:
        created, job_id = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (AttributeError, binascii.Error, RecursionError, TypeError, ValueError):
        raise InvalidJobField("page_token", "was not given by this store") from None
    if type(created) is not int or not 0 <= created < 2**63 or not texts.is_storable(job_id):
        raise InvalidJobField("page_token", "was not given by this store")
    return created, job_id
