"""Exclusivity locks, taken and given back inside the transaction of the job they protect. Keeps I4.

A row of `job_locks` says: the work of this job, under this fence, has the key. A row without a
fence was written by stock MLflow, and is judged by the state of its job alone.

A lock is live while its holder is RUNNING or NEEDS_RECOVERY, or was canceled and its lease has not
yet run out (its work may not have stopped), unless the holder has been claimed anew without it or
took it longer ago than 115% of its timeout. Any other lock may be taken over. Who loses a lock by
that overrun is ended in the same transaction, so that it can write nothing any more.
"""

from collections.abc import Sequence

from sqlalchemy import (
    ColumnElement,
    Delete,
    FromClause,
    and_,
    delete,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.engine import Connection

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import dialects, statements
from mlflow.store.jobs.tables import job_locks, jobs
from mlflow.store.jobs.transaction import Raced
from mlflow.store.jobs.transitions import OWNED
from mlflow.store.jobs.values import Claim, JobLock

_locks = job_locks.c


def acquire(
    connection: Connection,
    lock_key: str,
    claim: Claim,
    now: ColumnElement,
    default_timeout_seconds: float,
) -> str | None:
    """Take the lock for this claim.

    Returns:
        None when the claim has the lock now, else the id of the job that holds it.

    Raises:
        Raced: The lock came and went while it was asked for.
    """
    found = select(_locks.job_id, _locks.fence).where(_locks.lock_key == lock_key)
    held = connection.execute(found).one_or_none()
    if held is None:
        if dialects.insert_or_lock(
            connection,
            job_locks,
            lock_key=lock_key,
            job_id=claim.job_id,
            fence=claim.fence,
            acquired_at=now,
        ):
            return None
        held = connection.execute(found).one_or_none()
        if held is None:
            raise Raced
        if held == (claim.job_id, claim.fence):
            return None
    if (held.job_id, held.fence) == (claim.job_id, claim.fence):
        # Its time is not begun anew: it is stale past the overrun, however often it is asked for.
        return None
    taken_over = (
        update(job_locks)
        .where(
            _locks.lock_key == lock_key,
            _locks.job_id == held.job_id,
            _locks.fence.is_(None) if held.fence is None else _locks.fence == held.fence,
            or_(_locks.job_id == claim.job_id, ~_live(now, default_timeout_seconds)),
        )
        .values(job_id=claim.job_id, fence=claim.fence, acquired_at=now)
    )
    if connection.execute(taken_over).rowcount == 0:
        return held.job_id
    if held.job_id != claim.job_id:
        _end_overrun(connection, held.job_id, held.fence, lock_key, claim, now)
    return None


def acquire_owned(
    connection: Connection,
    lock_key: str,
    claim: Claim,
    now: ColumnElement,
    default_timeout_seconds: float,
) -> JobLock | None:
    """`acquire`, for a claim that may be lost by now; None when the lock is not ours."""
    # I1: the row stays locked until the transaction ends, so that the claim lasts as long.
    owned = select(jobs.c.id).where(statements.still_in(OWNED), statements.held_by([claim]))
    if connection.execute(dialects.locking(owned, jobs)).one_or_none() is None:
        return None
    if acquire(connection, lock_key, claim, now, default_timeout_seconds) is not None:
        return None
    acquired_at = select(_locks.acquired_at).where(_locks.lock_key == lock_key)
    return JobLock(
        lock_key, claim.job_id, connection.execute(acquired_at).scalar_one(), claim.fence
    )


def release_one(lock: JobLock) -> Delete:
    """Give back this holding; one that has passed to another, or to a later claim, stays."""
    return delete(job_locks).where(
        _locks.lock_key == lock.lock_key,
        _locks.job_id == lock.job_id,
        _locks.acquired_at == lock.acquired_at,
        _locks.fence.is_(None) if lock.fence is None else _locks.fence == lock.fence,
    )


def release(connection: Connection, claim: Claim) -> None:
    """Give back what this claim holds; a lock that has passed to another stays."""
    connection.execute(release_all([claim]))


def release_all(claims: Sequence[Claim]) -> Delete:
    """Give back what each of these claims holds."""
    held = (
        and_(
            _locks.job_id == claim.job_id, or_(_locks.fence == claim.fence, _locks.fence.is_(None))
        )
        for claim in claims
    )
    return delete(job_locks).where(or_(false(), *held))


def release_listed(claims: FromClause) -> Delete:
    """Give back what a list of claims holds."""
    return delete(job_locks).where(
        _locks.job_id == claims.c.id, or_(_locks.fence == claims.c.fence, _locks.fence.is_(None))
    )


def release_unowned(connection: Connection, job_id: str) -> None:
    """Give back the locks of a job unless the lease of its work is still to run out."""
    owned = exists(
        select(literal_column("1"))
        .select_from(jobs)
        .where(jobs.c.id == job_id, jobs.c.lease_expires_at.is_not(None))
    )
    connection.execute(delete(job_locks).where(_locks.job_id == job_id, ~owned))


def carry_over(connection: Connection, job_id: str, fence: int) -> None:
    """Let the lock follow its job to a new fence (T11)."""
    connection.execute(update(job_locks).where(_locks.job_id == job_id).values(fence=fence))


def _live(now: ColumnElement, default_timeout_seconds: float) -> ColumnElement[bool]:
    holder = jobs.alias("holder")
    canceled = literal_column(str(JobStatus.CANCELED.to_int()))
    owned = [literal_column(str(state.to_int())) for state in sorted(OWNED)]
    timeout = func.coalesce(holder.c.timeout, default_timeout_seconds)
    return exists(
        select(literal_column("1"))
        .select_from(holder)
        .where(
            holder.c.id == _locks.job_id,
            or_(
                holder.c.status.in_(owned),
                and_(holder.c.status == canceled, holder.c.lease_expires_at >= now),
            ),
            or_(_locks.fence.is_(None), holder.c.fence <= _locks.fence),
            _locks.acquired_at > now - statements.overrun_ms(timeout),
        )
        .correlate(job_locks)
    )


def _end_overrun(connection, holder_id, fence, lock_key, claim, now) -> None:
    # I4: the older job can no longer write.
    reason = (
        f"The job ran longer than 115% of its timeout, and job {claim.job_id} took over its "
        f"exclusivity lock {lock_key!r}."
    )
    under_it = [] if fence is None else [jobs.c.fence == fence]
    connection.execute(
        statements.end_overrun(jobs.c.id == holder_id, *under_it, reason=reason, now=now)
    )
