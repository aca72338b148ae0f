"""T1 under a term, built once for each shape as in `prepared`, since it comes by the thousand."""

from functools import lru_cache
from typing import Any

from sqlalchemy import Insert, bindparam
from sqlalchemy.sql.dml import ReturningInsert

from mlflow.store.jobs import job_row, statements
from mlflow.store.jobs.dialects import now_ms
from mlflow.store.jobs.tables import jobs, scheduler_leases
from mlflow.store.jobs.values import Term

_SHAPES = 32
_of_lease = scheduler_leases.c
_TERM = Term(
    bindparam("term_lease_key", type_=_of_lease.lease_key.type),
    bindparam("term_holder", type_=_of_lease.holder.type),
    bindparam("term_fence", type_=_of_lease.fence.type),
)


@lru_cache(maxsize=_SHAPES)
def create(columns: tuple[str, ...], unless_unfinished: bool, clock_offset_ms: int) -> Insert:
    """Run with `term_values` and a value for each of these columns."""
    return statements.create(
        {name: bindparam(name, type_=jobs.c[name].type) for name in columns},
        now_ms(clock_offset_ms),
        _TERM,
        unless_unfinished,
    )


@lru_cache(maxsize=_SHAPES)
def create_and_read(
    columns: tuple[str, ...], unless_unfinished: bool, clock_offset_ms: int
) -> ReturningInsert:
    """`create`, answering the row."""
    return create(columns, unless_unfinished, clock_offset_ms).returning(*job_row.COLUMNS)


def term_values(term: Term) -> dict[str, Any]:
    """The parameters that name a term."""
    return {
        "term_lease_key": term.lease_key,
        "term_holder": term.holder,
        "term_fence": term.fence,
    }
