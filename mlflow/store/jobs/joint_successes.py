"""The success of several jobs in one transaction (T5): of all of them, or of none.

Where a list can be a value, what is claimed for their slots is claimed by the same statement: the
rows of the one are RUNNING and those of the other PENDING as it begins, so that neither meets what
the other changes.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    Delete,
    Select,
    String,
    Text,
    Update,
    bindparam,
    func,
    select,
    true,
)
from sqlalchemy.engine import Connection

from mlflow.store.jobs import dialects, driver_text, lock_rows, statements
from mlflow.store.jobs.errors import NotAllSucceeded
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.values import Claim, Success

_SHAPES = 128


def succeed_all(connection: Connection, successes: Sequence[Success], now: dialects.now_ms) -> None:
    """T5 of each, and the release of its locks.

    Raises:
        NotAllSucceeded: Some claim of them is lost; the transaction must not be committed.
    """
    if not successes:
        return
    if dialects.takes_lists(connection.dialect.name):
        statement = listed(now.offset_ms)
        succeeded = driver_text.execute(connection, statement, listed_values(successes)).scalar()
    else:
        count, values = len(successes), _values(successes)
        succeeded = driver_text.execute(connection, each(count, now.offset_ms), values).rowcount
        driver_text.execute(connection, release_each(count), values)
    refuse_some(succeeded, successes)


def refuse_some(succeeded: int, successes: Sequence[Success]) -> None:
    """Raises `NotAllSucceeded` unless all of them have."""
    if succeeded != len(successes):
        raise NotAllSucceeded


@lru_cache(maxsize=_SHAPES)
def listed(clock_offset_ms: int) -> Select:
    """T5 of a list of claims and the release of their locks, run with `listed_values`.

    Answers how many of them it met.
    """
    counted, released = _succeeding(clock_offset_ms)
    return select(counted.c.succeeded).add_cte(released)


def listed_before(claiming: CTE, clock_offset_ms: int) -> Select:
    """The same with a claim; each row answers how many succeeded, and what was claimed, if any."""
    counted, released = _succeeding(clock_offset_ms)
    both = counted.outerjoin(claiming, true())
    return select(counted.c.succeeded, *claiming.c).select_from(both).add_cte(released)


def _succeeding(clock_offset_ms: int) -> tuple[CTE, CTE]:
    ids = bindparam("ids", type_=ARRAY(String))
    successes = dialects.listed(
        "successes",
        id=ids,
        fence=bindparam("fences", type_=ARRAY(BigInteger)),
        result=bindparam("results", type_=ARRAY(Text)),
    )
    succeeding = statements.succeed_listed(successes, ids, dialects.now_ms(clock_offset_ms))
    met = succeeding.returning(jobs.c.id, jobs.c.fence).cte("succeeded")
    counted = select(func.count().label("succeeded")).select_from(met).cte("counted")
    return counted, lock_rows.release_listed(met).cte("released")


def listed_values(successes: Sequence[Success]) -> dict[str, Any]:
    """The parameters of `listed`."""
    return {
        "ids": [success.claim.job_id for success in successes],
        "fences": [success.claim.fence for success in successes],
        "results": [success.result for success in successes],
    }


@lru_cache(maxsize=_SHAPES)
def each(count: int, clock_offset_ms: int) -> Update:
    """T5 of so many claims."""
    results = [bindparam(f"result_{number}", type_=jobs.c.result.type) for number in range(count)]
    return statements.succeed_all(_claims(count), results, dialects.now_ms(clock_offset_ms))


@lru_cache(maxsize=_SHAPES)
def release_each(count: int) -> Delete:
    """The release of all locks of so many claims."""
    return lock_rows.release_all(_claims(count))


def _values(successes: Sequence[Success]) -> dict[str, Any]:
    values = {}
    for number, success in enumerate(successes):
        values[f"id_{number}"] = success.claim.job_id
        values[f"fence_{number}"] = success.claim.fence
        values[f"result_{number}"] = success.result
    return values


def _claims(count: int) -> list[Claim]:
    return [
        Claim(bindparam(f"id_{number}"), bindparam(f"fence_{number}")) for number in range(count)
    ]
