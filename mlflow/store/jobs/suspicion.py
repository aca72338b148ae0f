"""Suspects: jobs that may be what their runners die of. Keeps I11 from the jobs beside them.

A job that kills its runner takes along what ran there too, and a crash is counted for each of them.
So a job becomes a suspect once it has used more than half of its recoveries, and of suspects a
runner claims one at a time. The poison among them then dies without the others, which still have
recoveries left, and whoever ends in order has shown that it is none.

Not from the first crash on, as long as that leaves more than half: a lost host takes many jobs with
it, and these should not have to wait for one another. And not later than half, so that the crash
that makes a job a suspect is never the one that sets it aside.

A row says so by its due time, which is before all others. So the suspects are a range of their own
in the index that serves claims, and the claim of ordinary jobs does not meet them. It stays while
the job runs, and when it is handed over; a retry after an orderly failure is ordinary.
"""

from sqlalchemy import ColumnElement, literal_column

from mlflow.store.jobs.tables import jobs

# Due, before all others: no clock has given this time to a retry. Literal, as plans should know it.
DUE_AT = 0
_due_at = literal_column(str(DUE_AT))


def is_due_to(crashes: int, max_recoveries: int) -> bool:
    """Whether a job is a suspect once so many crashes of it are counted."""
    return crashes * 2 > max_recoveries


def is_marked(next_attempt_at: int | None) -> bool:
    """Whether a row with this due time is a suspect's."""
    return next_attempt_at == DUE_AT


def suspect() -> ColumnElement[bool]:
    """The row is a suspect's."""
    return jobs.c.next_attempt_at == _due_at


def retried() -> ColumnElement[bool]:
    """The row has a due time, and is no suspect's."""
    return jobs.c.next_attempt_at > _due_at
