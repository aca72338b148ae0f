"""Which PENDING rows are due, read from short index ranges. Keeps I10.

The difficult query. For every job type with free capacity and every backend served here, two index
ranges are read from their oldest end: rows that were never retried, and rows whose retry is due.
Each stops at the capacity of the type, so that neither the number of rows, nor the rows of a type
at its capacity, nor those of a backend that is served elsewhere, are ever looked at. Where the
database can, the types are rows that the ranges are joined to, so that the statement and its plan
are as short for thirty types as for one.

The ranges of a type are merged by due time and cut to its capacity: no type takes another's slots,
and no retried row waits behind a stream of new ones. Rows that another runner is claiming at this
moment are passed over, not waited for.

Suspects are a third range (`suspicion`), which only `suspect` reads, for one row (I11).

A range begins with the entries of jobs that are no longer PENDING, for as long as some transaction
may see them as they were. So a claim may be told from where on to read the rows that were never
retried; who tells it looks at all of them from time to time (`claim_fronts`).
"""

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Integer,
    Select,
    String,
    literal,
    literal_column,
    select,
    true,
    union_all,
)
from sqlalchemy.engine import Connection

from mlflow.store.jobs import dialects, statements, suspicion
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.values import DueWork

_SHAPES = 128
_INDEX = "index_jobs_claim"
# No job type has this name.
_ORDINARY = ""
NAMES = ARRAY(String)
SLOTS = ARRAY(Integer)
# Before any row was created, whatever it says.
ALL = -(2**63)
TIMES = ARRAY(BigInteger)


def due(
    capacity: Mapping[str, int],
    backends: Collection[str | None],
    now: ColumnElement,
    dialect: str,
    created_since: Mapping[str, int] = MappingProxyType({}),
) -> Select | CompoundSelect:
    """The ids of the oldest due rows of every job type, as many as each has slots."""
    types = sorted(capacity.items())
    if dialects.takes_lists(dialect):
        names, slots = zip(*types, strict=True)
        return due_of_listed(
            literal([*names], NAMES),
            literal([*slots], SLOTS),
            literal([created_since.get(name, ALL) for name in names], TIMES),
            backends,
            now,
            dialect,
        )
    ranges = (
        (due_ranges(name, slots, backends, now, dialect, created_since.get(name, ALL)), slots)
        for name, slots in types
    )
    return union_all(*(select(_of_type(*each).subquery().c.id) for each in ranges))


def due_of_listed(
    names: ColumnElement,
    slots: ColumnElement,
    created_since: ColumnElement,
    backends: Collection[str | None],
    now: ColumnElement,
    dialect: str,
) -> Select:
    """The same of a list of job types, one of their slots, and one of where to begin.

    One statement, and one plan, for any number of types: to plan the ranges of each takes longer
    than to read them.
    """
    free = dialects.listed("free", job_name=names, slots=slots, created_since=created_since)
    # By their text, since a subquery within a subquery would bring its own rows of `free`.
    name, most = literal_column("free.job_name"), literal_column("free.slots")
    ranges = due_ranges(name, most, backends, now, dialect, literal_column("free.created_since"))
    of_type = _of_type(ranges, most).lateral("of_type")
    return select(of_type.c.id).select_from(free.join(of_type, true()))


def due_ranges(
    name: str,
    slots: int,
    backends: Collection[str | None],
    now: ColumnElement,
    dialect: str,
    created_since: ColumnElement | int | None = None,
    lock: bool = True,
) -> list[Select]:
    """The index ranges of one job type: for each backend its new rows and its due retries."""
    ranges = []
    begins = [] if created_since is None else [jobs.c.creation_time >= created_since]
    of_one_type = [jobs.c.executor_backend, jobs.c.job_name]
    for served in _served(name, backends):
        new = (
            select(jobs.c.id, jobs.c.creation_time.label("due_at"))
            .where(*served, jobs.c.next_attempt_at.is_(None), *begins)
            .order_by(
                *dialects.index_order(
                    dialect, [*of_one_type, jobs.c.next_attempt_at], [jobs.c.creation_time]
                )
            )
        )
        retried = (
            select(jobs.c.id, jobs.c.next_attempt_at.label("due_at"))
            .where(*served, suspicion.retried(), jobs.c.next_attempt_at <= now)
            .order_by(
                *dialects.index_order(
                    dialect, of_one_type, [jobs.c.next_attempt_at, jobs.c.creation_time]
                )
            )
        )
        oldest = [dialects.read_by(each, jobs, _INDEX).limit(slots) for each in (new, retried)]
        ranges += [dialects.skipping_locked(each, jobs) if lock else each for each in oldest]
    return ranges


def suspect_ranges(
    name: str, backends: Collection[str | None], dialect: str, lock: bool = True
) -> list[Select]:
    """The oldest suspect of one job type, for each backend."""
    constant = [jobs.c.executor_backend, jobs.c.job_name, jobs.c.next_attempt_at]
    suspects = [
        select(jobs.c.id, jobs.c.job_name, jobs.c.creation_time.label("due_at"))
        .where(*served, suspicion.suspect())
        .order_by(*dialects.index_order(dialect, constant, [jobs.c.creation_time]))
        for served in _served(name, backends)
    ]
    oldest = [dialects.read_by(each, jobs, _INDEX).limit(1) for each in suspects]
    return [dialects.skipping_locked(each, jobs) if lock else each for each in oldest]


def suspect(job_names: Collection[str], backends: Collection[str | None], dialect: str) -> Select:
    """The id of the oldest suspect of these job types."""
    ranges = [
        each for name in sorted(job_names) for each in suspect_ranges(name, backends, dialect)
    ]
    return _of_type(ranges, 1)


def due_work(
    connection: Connection,
    backends: Collection[str | None],
    job_names: Collection[str],
    suspect_names: Collection[str],
    now: dialects.now_ms,
) -> DueWork:
    """What a claim would find. It locks nothing, so it may answer of a row just taken."""
    if not backends or not (job_names or suspect_names):
        return DueWork(False)
    shape = (*sorted(job_names),), (*sorted(suspect_names),), frozenset(backends)
    look = _prepared_look(*shape, now.offset_ms, connection.dialect.name)
    found = set(connection.scalars(look))
    return DueWork(_ORDINARY in found, frozenset(found - {_ORDINARY}))


@lru_cache(maxsize=_SHAPES)
def _prepared_look(
    names: tuple[str, ...],
    suspect_names: tuple[str, ...],
    backends: frozenset[str | None],
    offset_ms: int,
    dialect: str,
) -> Select:
    return look(names, suspect_names, backends, dialects.now_ms(offset_ms), dialect)


def look(
    names: Collection[str],
    suspect_names: Collection[str],
    backends: Collection[str | None],
    now: ColumnElement,
    dialect: str,
) -> Select:
    """One empty text if any ordinary job is due, and the job types of which a suspect is."""
    parts = []
    if names:
        ordinary = [
            each.subquery()
            for name in names
            for each in due_ranges(name, 1, backends, now, dialect, lock=False)
        ]
        found = union_all(*(select(each.c.id) for each in ordinary)).subquery()
        first = select(found.c.id).limit(1).subquery()
        parts.append(select(literal_column(f"'{_ORDINARY}'").label("job_name")).select_from(first))
    for name in suspect_names:
        for each in suspect_ranges(name, backends, dialect, lock=False):
            parts.append(select(each.subquery().c.job_name))
    either = union_all(*parts).subquery()
    return select(either.c.job_name)


def _served(name: str, backends: Collection[str | None]) -> Iterator[list[ColumnElement[bool]]]:
    """For each backend, what is the same in all PENDING rows of one job type."""
    for backend in sorted(backends, key=lambda each: (each is not None, each)):
        yield [
            statements.pending(),
            jobs.c.executor_backend.is_(None)
            if backend is None
            else jobs.c.executor_backend == backend,
            jobs.c.job_name == name,
        ]


def _of_type(ranges: list[Select], slots) -> Select:
    each_oldest = [each.subquery() for each in ranges]
    merged = union_all(*(select(each.c.id, each.c.due_at) for each in each_oldest)).subquery()
    return select(merged.c.id).order_by(merged.c.due_at, merged.c.id).limit(slots)
