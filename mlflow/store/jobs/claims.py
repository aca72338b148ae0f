"""Claim a batch of due jobs, and cancel those whose exclusivity lock is held (T2, T3). Keeps I10.

The difficult query. For every job type with free capacity and every backend served here, two index
ranges are read from their oldest end: rows that were never retried, and rows whose retry is due.
Each stops at the capacity of the type, so that neither the number of rows, nor the rows of a type
at its capacity, nor those of a backend that is served elsewhere, are ever looked at. Where the
database can, the types are rows that the ranges are joined to, so that the statement and its plan
are as short for thirty types as for one.

The ranges of a type are merged by due time and cut to its capacity: no type takes another's slots,
and no retried row waits behind a stream of new ones. Rows that another runner is claiming at this
moment are passed over, not waited for.

Locks are then taken in the order of their keys, so that two runners that claim at once cannot wait
for each other in a circle.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Integer,
    Row,
    Select,
    String,
    Update,
    bindparam,
    literal,
    literal_column,
    select,
    true,
    union_all,
)
from sqlalchemy.engine import Connection

from mlflow.store.jobs import dialects, job_tokens, lock_rows, statements
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.transitions import CLAIM
from mlflow.store.jobs.values import Claim, ClaimBatch, ClaimedJob, LockKeyFor

_SHAPES = 128

_COLUMNS = [
    jobs.c.id,
    jobs.c.fence,
    jobs.c.job_name,
    jobs.c.params,
    jobs.c.timeout,
    jobs.c.workspace,
    jobs.c.executor_backend,
    jobs.c.creator,
    jobs.c.retry_count,
    jobs.c.recovery_count,
    jobs.c.sealed_environment,
    jobs.c.lock_key,
    jobs.c.creation_time,
    jobs.c.next_attempt_at,
]


def claim_batch(
    connection: Connection,
    replica_id: str,
    backends: Collection[str | None],
    capacity: Mapping[str, int],
    lease_ms: int,
    lock_key_for: LockKeyFor,
    default_timeout_seconds: float,
    now: ColumnElement,
    token_backends: Collection[str | None] = (),
) -> ClaimBatch:
    """Claim, then take locks and issue tokens for what was claimed, in one transaction."""
    free = {name: slots for name, slots in capacity.items() if slots > 0}
    if not free or not backends:
        return ClaimBatch([], [])
    rows = sorted(_claim(connection, free, backends, replica_id, lease_ms, now), key=_age)
    jobs_in_order = [job for row in rows if (job := _readable(connection, row, lock_key_for, now))]
    canceled = set()
    for job in sorted((each for each in jobs_in_order if each.lock_key), key=_lock_order):
        holder = lock_rows.acquire(
            connection, job.lock_key, job.claim, now, default_timeout_seconds
        )
        if holder is not None:
            reason = f"Not run: job {holder} holds the exclusivity lock {job.lock_key!r}."
            connection.execute(statements.conflict(job.claim, reason, now))
            canceled.add(job.claim)
    claimed = [job for job in jobs_in_order if job.claim not in canceled]
    return ClaimBatch(
        _with_tokens(connection, claimed, token_backends),
        [job.claim.job_id for job in jobs_in_order if job.claim in canceled],
    )


def due(
    capacity: Mapping[str, int], backends: Collection[str | None], now: ColumnElement, dialect: str
) -> Select | CompoundSelect:
    """The ids of the oldest due rows of every job type, as many as each has slots."""
    types = sorted(capacity.items())
    if dialects.joins_laterally(dialect):
        # One plan for all types: to plan the ranges of each takes longer than to read them.
        # No VALUES: SQLAlchemy would compile the statement anew each time.
        free = union_all(
            *(
                select(literal(name, String).label("job_name"), _slots(slots).label("slots"))
                for name, slots in types
            )
        ).subquery("free")
        # By their text, since a subquery within a subquery would bring its own rows of `free`.
        name, slots = literal_column("free.job_name"), literal_column("free.slots")
        of_type = _of_type(due_ranges(name, slots, backends, now, dialect), slots)
        of_type = of_type.lateral("of_type")
        return select(of_type.c.id).select_from(free.join(of_type, true()))
    return union_all(
        *(
            select(_of_type(due_ranges(name, slots, backends, now, dialect), slots).subquery().c.id)
            for name, slots in types
        )
    )


def _slots(slots) -> ColumnElement[int]:
    return slots if isinstance(slots, ColumnElement) else literal(slots, Integer)


def due_ranges(
    name: str,
    slots: int,
    backends: Collection[str | None],
    now: ColumnElement,
    dialect: str,
    lock: bool = True,
) -> list[Select]:
    """The index ranges of one job type: for each backend its new rows and its due retries."""
    ranges = []
    for backend in sorted(backends, key=lambda each: (each is not None, each)):
        served = [
            statements.in_states(CLAIM.leaves),
            jobs.c.executor_backend.is_(None)
            if backend is None
            else jobs.c.executor_backend == backend,
            jobs.c.job_name == name,
        ]
        of_one_type = [jobs.c.executor_backend, jobs.c.job_name]
        new = (
            select(jobs.c.id, jobs.c.creation_time.label("due_at"))
            .where(*served, jobs.c.next_attempt_at.is_(None))
            .order_by(
                *dialects.index_order(
                    dialect, [*of_one_type, jobs.c.next_attempt_at], [jobs.c.creation_time]
                )
            )
        )
        retried = (
            select(jobs.c.id, jobs.c.next_attempt_at.label("due_at"))
            .where(*served, jobs.c.next_attempt_at <= now)
            .order_by(
                *dialects.index_order(
                    dialect, of_one_type, [jobs.c.next_attempt_at, jobs.c.creation_time]
                )
            )
        )
        oldest = [each.limit(slots) for each in (new, retried)]
        ranges += [dialects.skipping_locked(each, jobs) if lock else each for each in oldest]
    return ranges


def anything_due(
    job_names: Collection[str], backends: Collection[str | None], now: ColumnElement, dialect: str
) -> Select:
    """One row if a claim would find any. It locks nothing, so it may answer of a row just taken."""
    ranges = [
        each.subquery()
        for name in sorted(job_names)
        for each in due_ranges(name, 1, backends, now, dialect, lock=False)
    ]
    found = union_all(*(select(each.c.id) for each in ranges)).subquery()
    return select(found.c.id).limit(1)


def _of_type(ranges: list[Select], slots) -> Select:
    each_oldest = [each.subquery() for each in ranges]
    merged = union_all(*(select(each.c.id, each.c.due_at) for each in each_oldest)).subquery()
    return select(merged.c.id).order_by(merged.c.due_at, merged.c.id).limit(slots)


def _claim(
    connection: Connection,
    capacity: Mapping[str, int],
    backends: Collection[str | None],
    replica_id: str,
    lease_ms: int,
    now: dialects.now_ms,
) -> list[Row]:
    shape = (*sorted(capacity),), frozenset(backends), now.offset_ms, connection.dialect.name
    slots = {f"slots_{number}": capacity[name] for number, name in enumerate(shape[0])}
    if dialects.updates_return_rows(connection):
        values = {"replica_id": replica_id, "lease_ms": lease_ms, **slots}
        return connection.execute(_prepared_claim(*shape), values).all()
    ids = connection.scalars(_prepared_due(*shape), slots).all()
    if not ids:
        return []
    which = jobs.c.id.in_(ids)
    # The rows are locked by now, so this update meets all of them.
    connection.execute(statements.claim(which, replica_id, lease_ms, now))
    return connection.execute(select(*_COLUMNS).where(which)).all()


# To build these takes longer than to run them, so each shape is built once.
@lru_cache(maxsize=_SHAPES)
def _prepared_due(
    names: tuple[str, ...], backends: frozenset[str | None], offset_ms: int, dialect: str
) -> CompoundSelect:
    slots = {name: bindparam(f"slots_{number}", type_=Integer) for number, name in enumerate(names)}
    return due(slots, backends, dialects.now_ms(offset_ms), dialect)


@lru_cache(maxsize=_SHAPES)
def _prepared_claim(
    names: tuple[str, ...], backends: frozenset[str | None], offset_ms: int, dialect: str
) -> Update:
    replica_id = bindparam("replica_id", type_=jobs.c.claimed_by.type)
    lease_ms = bindparam("lease_ms", type_=BigInteger)
    candidates = _prepared_due(names, backends, offset_ms, dialect)
    return claim_at_once(candidates, replica_id, lease_ms, dialects.now_ms(offset_ms))


def claim_at_once(candidates: Select, replica_id: str, lease_ms: int, now: ColumnElement) -> Update:
    """T2 of all candidates, where an update can answer its rows."""
    due_rows = candidates.cte("due_rows")
    which = jobs.c.id.in_(select(due_rows.c.id))
    return statements.claim(which, replica_id, lease_ms, now).returning(*_COLUMNS)


def _age(row: Row) -> tuple[int, str]:
    due_at = row.creation_time if row.next_attempt_at is None else row.next_attempt_at
    return due_at, row.id


def _readable(
    connection: Connection, row: Row, lock_key_for: LockKeyFor, now: ColumnElement
) -> ClaimedJob | None:
    claim = Claim(row.id, row.fence)
    problem = "The job's params are not a JSON object."
    try:
        params = json.loads(row.params)
        if isinstance(params, dict):
            return _with_lock_key(connection, _claimed(claim, row, params), lock_key_for)
    except RecursionError:
        problem = "The job's params are nested too deep to be read."
    except (TypeError, ValueError):
        pass
    # I3: a row that cannot be read must not keep the others from being claimed.
    connection.execute(statements.fail(claim, problem, now))
    return None


def _claimed(claim: Claim, row: Row, params: dict[str, Any]) -> ClaimedJob:
    return ClaimedJob(
        claim=claim,
        job_name=row.job_name,
        params=params,
        timeout=row.timeout,
        workspace=row.workspace,
        backend=row.executor_backend,
        creator=row.creator,
        retry_count=row.retry_count,
        recovery_count=row.recovery_count,
        sealed_environment=row.sealed_environment,
        lock_key=row.lock_key,
    )


def _with_lock_key(connection: Connection, job: ClaimedJob, lock_key_for: LockKeyFor) -> ClaimedJob:
    if job.lock_key is not None:
        return job
    lock_key = lock_key_for(job.job_name, job.params, job.workspace)
    if lock_key is None:
        return job
    connection.execute(statements.keep_lock_key(job.claim, lock_key))
    return replace(job, lock_key=lock_key)


def _with_tokens(
    connection: Connection, claimed: list[ClaimedJob], backends: Collection[str | None]
) -> list[ClaimedJob]:
    tokens = {job.claim: job_tokens.new_token() for job in claimed if job.backend in backends}
    if not tokens:
        return claimed
    hashes = {claim: job_tokens.hash_of(token) for claim, token in tokens.items()}
    connection.execute(statements.issue_tokens(hashes))
    return [replace(job, token=tokens.get(job.claim)) for job in claimed]


def _lock_order(job: ClaimedJob) -> str:
    return job.lock_key
