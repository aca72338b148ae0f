"""The statements of the busiest verbs, built once for each shape and run with new values each time.

To build a statement costs more than to run it. Here the values are named parameters, so that a
shape (how many rows, which columns) is built, and turned into text by SQLAlchemy, only once. What
the statements say is said elsewhere: in `statements` and `lock_rows`.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Delete,
    Insert,
    Select,
    String,
    Text,
    Update,
    bindparam,
    func,
    select,
)
from sqlalchemy.sql.dml import ReturningInsert

from mlflow.store.jobs import dialects, job_row, lock_rows, statements
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.values import Claim, Success

_SHAPES = 128


@lru_cache(maxsize=_SHAPES)
def succeed_all(count: int, clock_offset_ms: int) -> Update:
    """T5 of so many claims, run with `success_values`."""
    results = [bindparam(f"result_{each}", type_=jobs.c.result.type) for each in range(count)]
    return statements.succeed_all(_claims(count), results, dialects.now_ms(clock_offset_ms))


@lru_cache(maxsize=_SHAPES)
def release_all(count: int) -> Delete:
    """The release of all locks of so many claims, run with `success_values`."""
    return lock_rows.release_all(_claims(count))


@lru_cache(maxsize=_SHAPES)
def succeed_listed(clock_offset_ms: int) -> Select:
    """T5 of a list of claims and the release of their locks, run with `listed_successes`.

    Answers how many of them it met.
    """
    ids = bindparam("ids", type_=ARRAY(String))
    listed = dialects.listed(
        "successes",
        id=ids,
        fence=bindparam("fences", type_=ARRAY(BigInteger)),
        result=bindparam("results", type_=ARRAY(Text)),
    )
    succeeding = statements.succeed_listed(listed, ids, dialects.now_ms(clock_offset_ms))
    succeeded = succeeding.returning(jobs.c.id, jobs.c.fence).cte("succeeded")
    released = lock_rows.release_listed(succeeded).cte("released")
    return select(func.count()).select_from(succeeded).add_cte(released)


def listed_successes(successes: Sequence[Success]) -> dict[str, Any]:
    """The parameters of `succeed_listed`."""
    return {
        "ids": [each.claim.job_id for each in successes],
        "fences": [each.claim.fence for each in successes],
        "results": [each.result for each in successes],
    }


def success_values(successes: Sequence[Success]) -> dict[str, Any]:
    """The parameters of `succeed_all` and `release_all`."""
    values = {}
    for number, each in enumerate(successes):
        values[f"id_{number}"] = each.claim.job_id
        values[f"fence_{number}"] = each.claim.fence
        values[f"result_{number}"] = each.result
    return values


@lru_cache(maxsize=_SHAPES)
def create(columns: tuple[str, ...], clock_offset_ms: int) -> Insert:
    """T1 without a term, run with a value for each of these columns."""
    return statements.create(
        {name: bindparam(name, type_=jobs.c[name].type) for name in columns},
        dialects.now_ms(clock_offset_ms),
    )


@lru_cache(maxsize=_SHAPES)
def create_and_read(columns: tuple[str, ...], clock_offset_ms: int) -> ReturningInsert:
    """`create`, answering the row."""
    return create(columns, clock_offset_ms).returning(*job_row.COLUMNS)


def _claims(count: int) -> list[Claim]:
    return [Claim(bindparam(f"id_{each}"), bindparam(f"fence_{each}")) for each in range(count)]
