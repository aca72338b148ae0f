"""The scheduler lease: one row per key, held for one term at a time. Keeps I6 and I7.

A term is (key, holder, fence). The row is authoritative: a term lasts while the row names its
holder and fence, and the time of its last renewal plus its time to live is still to come by the
database's time. Every new term raises the fence, so that a holder who led before and leads again
never acts under its old term. A release empties `holder` and keeps the row, because the row keeps
the fence.

Not promised: that a leader notices at once that its term has ended. It stops by its own deadline,
and what it writes until then changes nothing, because `held` stands in the statement.
"""

import math

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Update,
    and_,
    case,
    cast,
    exists,
    insert,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.engine import Connection

from mlflow.store.jobs import dialects
from mlflow.store.jobs.tables import scheduler_leases
from mlflow.store.jobs.values import Term

_leases = scheduler_leases.c


def held(term: Term, now: ColumnElement) -> ColumnElement[bool]:
    """The lease row is this term's, and its time has not run out."""
    return and_(_named(term), _runs_out > now)


def holds(term: Term, now: ColumnElement) -> ColumnElement[bool]:
    """`held`, for a statement that changes another table."""
    return exists(select(literal_column("1")).select_from(scheduler_leases).where(held(term, now)))


def is_held(connection: Connection, term: Term, now: ColumnElement) -> bool:
    """`held`, asked by itself."""
    found = select(literal_column("1")).where(holds(term, now))
    return connection.execute(found).first() is not None


def latest(connection: Connection, key: str, now: ColumnElement) -> tuple[int, int] | None:
    """The fence of the latest term, and the ms that it still lasts; None if there never was one.

    Followers ask this all the time. It only reads, so that they never wait for each other's locks.
    """
    lasts = case((_ended(now), 0), else_=_runs_out - now)
    row = connection.execute(select(_leases.fence, lasts).where(_leases.lease_key == key)).first()
    return None if row is None else (row[0], row[1])


def acquire(
    connection: Connection, term: Term, ttl_seconds: float, now: ColumnElement
) -> Term | None:
    """Begin this term if the one before it is the latest, and has ended."""
    values = {
        "holder": term.holder,
        "fence": term.fence,
        "acquired_at": now,
        "ttl_seconds": _whole_seconds(ttl_seconds),
    }
    next_one = (
        update(scheduler_leases)
        .where(_leases.lease_key == term.lease_key, _leases.fence == term.fence - 1, _ended(now))
        .values(values)
    )
    if connection.execute(next_one).rowcount == 1:
        return term
    if term.fence > 1:
        return None
    first = insert(scheduler_leases).values(lease_key=term.lease_key, **values)
    return term if dialects.insert_if_absent(connection, first) else None


def renew(term: Term, ttl_seconds: float, now: ColumnElement) -> Update:
    """Matches no row once the term has ended: what has run out is acquired anew, not renewed."""
    return (
        update(scheduler_leases)
        .where(held(term, now))
        .values(acquired_at=now, ttl_seconds=_whole_seconds(ttl_seconds))
    )


def release(term: Term) -> Update:
    """End the term; the next one may begin at once."""
    return update(scheduler_leases).where(_named(term)).values(holder=None)


def _ended(now: ColumnElement) -> ColumnElement[bool]:
    return or_(_leases.holder.is_(None), _runs_out <= now)


# The column is of 32 bits, which hold no month in milliseconds.
_runs_out = _leases.acquired_at + cast(_leases.ttl_seconds, BigInteger) * literal_column("1000")


def _named(term: Term) -> ColumnElement[bool]:
    return and_(
        _leases.lease_key == term.lease_key,
        _leases.holder == term.holder,
        _leases.fence == term.fence,
    )


def _whole_seconds(ttl_seconds: float) -> int:
    # The column is an integer. Rounding up is safe: the holder trusts the shorter time.
    return math.ceil(ttl_seconds)
