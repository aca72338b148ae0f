"""Claim a batch of due jobs, and cancel those whose exclusivity lock is held (T2, T3).

Which rows are due is asked of `due_rows`. Locks are then taken in the order of their keys, so that
two runners that claim at once cannot wait for each other in a circle.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Integer,
    Row,
    Select,
    Update,
    bindparam,
    select,
)
from sqlalchemy.engine import Connection

from mlflow.store.jobs import (
    dialects,
    driver_text,
    due_rows,
    job_tokens,
    joint_successes,
    lock_rows,
    statements,
    suspicion,
)
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.values import Claim, ClaimBatch, ClaimedJob, LockKeyFor, Success

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
    after: Sequence[Success] = (),
    created_since: Mapping[str, int] = MappingProxyType({}),
) -> ClaimBatch:
    """Claim, then take locks and issue tokens for what was claimed, in one transaction.

    Raises:
        NotAllSucceeded: Some of `after` could not succeed first; nothing must be committed.
    """
    free = {name: slots for name, slots in capacity.items() if slots > 0}
    if not free or not backends:
        joint_successes.succeed_all(connection, after, now)
        return ClaimBatch([], [])
    rows = _claim(connection, free, backends, replica_id, lease_ms, now, after, created_since)
    return _batch(
        connection, rows, free, lock_key_for, default_timeout_seconds, now, token_backends
    )


def claim_suspect(
    connection: Connection,
    replica_id: str,
    backends: Collection[str | None],
    job_names: Collection[str],
    lease_ms: int,
    lock_key_for: LockKeyFor,
    default_timeout_seconds: float,
    now: ColumnElement,
    token_backends: Collection[str | None] = (),
) -> ClaimBatch:
    """As `claim_batch`, of the oldest suspect."""
    if not job_names or not backends:
        return ClaimBatch([], [])
    candidates = due_rows.suspect(job_names, backends, connection.dialect.name)
    rows = _claim_these(connection, candidates, replica_id, lease_ms, now)
    return _batch(
        connection,
        rows,
        dict.fromkeys(job_names, 1),
        lock_key_for,
        default_timeout_seconds,
        now,
        token_backends,
    )


def _batch(
    connection: Connection,
    rows: list[Row],
    free: Mapping[str, int],
    lock_key_for: LockKeyFor,
    default_timeout_seconds: float,
    now: ColumnElement,
    token_backends: Collection[str | None],
) -> ClaimBatch:
    rows = sorted(rows, key=_age)
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
    taken = Counter(row.job_name for row in rows)
    return ClaimBatch(
        _with_tokens(connection, claimed, token_backends),
        [job.claim.job_id for job in jobs_in_order if job.claim in canceled],
        frozenset(name for name, slots in free.items() if taken[name] >= slots),
        # In the order of their age, so that the last of each type stays.
        {row.job_name: row.creation_time for row in rows if row.next_attempt_at is None},
    )


def _claim(
    connection: Connection,
    capacity: Mapping[str, int],
    backends: Collection[str | None],
    replica_id: str,
    lease_ms: int,
    now: dialects.now_ms,
    after: Sequence[Success],
    created_since: Mapping[str, int],
) -> list[Row]:
    dialect, names = connection.dialect.name, sorted(capacity)
    shape = frozenset(backends), now.offset_ms, dialect
    values = {"replica_id": replica_id, "lease_ms": lease_ms}
    if dialects.takes_lists(dialect):
        values |= {
            "names": names,
            "slots": [capacity[name] for name in names],
            "created_since": [created_since.get(name, due_rows.ALL) for name in names],
        }
        if after:
            return _claim_with_successes(connection, shape, values, after)
        return driver_text.execute(connection, _prepared_claim_of_listed(*shape), values).all()
    joint_successes.succeed_all(connection, after, now)
    slots = {f"slots_{number}": capacity[name] for number, name in enumerate(names)}
    slots |= {
        f"since_{number}": created_since.get(name, due_rows.ALL)
        for number, name in enumerate(names)
    }
    if dialects.updates_return_rows(connection):
        claiming = _prepared_claim((*names,), *shape)
        return driver_text.execute(connection, claiming, values | slots).all()
    due = driver_text.execute(connection, _prepared_due((*names,), *shape), slots)
    return _claim_locked(connection, due.scalars().all(), replica_id, lease_ms, now)


def _claim_with_successes(
    connection: Connection,
    shape: tuple[frozenset[str | None], int, str],
    values: dict[str, Any],
    after: Sequence[Success],
) -> list[Row]:
    values = values | joint_successes.listed_values(after)
    rows = driver_text.execute(connection, claim_with_successes(*shape), values).all()
    joint_successes.refuse_some(rows[0].succeeded, after)
    # Where nothing is due, one row says so.
    return [row for row in rows if row.id is not None]


def _claim_these(
    connection: Connection, candidates: Select, replica_id: str, lease_ms: int, now: ColumnElement
) -> list[Row]:
    if dialects.updates_return_rows(connection):
        claiming = claim_at_once(candidates, replica_id, lease_ms, now, connection.dialect.name)
        return connection.execute(claiming).all()
    ids = connection.scalars(candidates).all()
    return _claim_locked(connection, ids, replica_id, lease_ms, now)


def _claim_locked(
    connection: Connection,
    ids: Sequence[str],
    replica_id: str,
    lease_ms: int,
    now: ColumnElement,
) -> list[Row]:
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
    since = {
        name: bindparam(f"since_{number}", type_=BigInteger) for number, name in enumerate(names)
    }
    return due_rows.due(slots, backends, dialects.now_ms(offset_ms), dialect, since)


@lru_cache(maxsize=_SHAPES)
def _prepared_claim(
    names: tuple[str, ...], backends: frozenset[str | None], offset_ms: int, dialect: str
) -> Update:
    return _claim_by(_prepared_due(names, backends, offset_ms, dialect), offset_ms, dialect)


@lru_cache(maxsize=_SHAPES)
def _prepared_claim_of_listed(
    backends: frozenset[str | None], offset_ms: int, dialect: str
) -> Update:
    names = bindparam("names", type_=due_rows.NAMES)
    slots = bindparam("slots", type_=due_rows.SLOTS)
    created_since = bindparam("created_since", type_=due_rows.TIMES)
    now = dialects.now_ms(offset_ms)
    due = due_rows.due_of_listed(names, slots, created_since, backends, now, dialect)
    return _claim_by(due, offset_ms, dialect)


@lru_cache(maxsize=_SHAPES)
def claim_with_successes(backends: frozenset[str | None], offset_ms: int, dialect: str) -> Select:
    """T5 of a list of claims and T2 for their slots, where a list can be a value."""
    claiming = _prepared_claim_of_listed(backends, offset_ms, dialect).cte("claimed")
    return joint_successes.listed_before(claiming, offset_ms)


def _claim_by(candidates: Select | CompoundSelect, offset_ms: int, dialect: str) -> Update:
    replica_id = bindparam("replica_id", type_=jobs.c.claimed_by.type)
    lease_ms = bindparam("lease_ms", type_=BigInteger)
    return claim_at_once(candidates, replica_id, lease_ms, dialects.now_ms(offset_ms), dialect)


def claim_at_once(
    candidates: Select, replica_id: str, lease_ms: int, now: ColumnElement, dialect: str
) -> Update:
    """T2 of all candidates, where an update can answer its rows."""
    found = candidates.cte("due_rows")
    which = dialects.is_among(jobs.c.id, select(found.c.id), dialect)
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
        is_suspect=suspicion.is_marked(row.next_attempt_at),
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
