"""Which due time of each periodic task was begun last, so that none runs twice or is skipped."""

from sqlalchemy import ColumnElement, insert, literal, select, update
from sqlalchemy.engine import Connection

from mlflow.store.jobs import dialects, lease_rows
from mlflow.store.jobs.tables import job_periodic_runs, scheduler_leases
from mlflow.store.jobs.values import Term

_runs = job_periodic_runs.c


def begin(
    connection: Connection, name: str, due_at_ms: int, term: Term, now: ColumnElement
) -> bool:
    """Record the due time; true for the one caller that did, and for the leader only (I6)."""
    later = (
        update(job_periodic_runs)
        .where(_runs.name == name, _runs.last_due_at < due_at_ms, lease_rows.holds(term, now))
        .values(last_due_at=due_at_ms, begun_at=now, begun_by=term.holder)
    )
    if connection.execute(later).rowcount == 1:
        return True
    if last(connection, name) is not None:
        return False
    first = insert(job_periodic_runs).from_select(
        ["name", "last_due_at", "begun_at", "begun_by"],
        select(
            literal(name, _runs.name.type),
            literal(due_at_ms, _runs.last_due_at.type),
            now,
            literal(term.holder, _runs.begun_by.type),
        )
        .select_from(scheduler_leases)
        .where(lease_rows.held(term, now)),
    )
    return dialects.insert_if_absent(connection, first)


def last(connection: Connection, name: str) -> int | None:
    """Due time of the last run that was begun."""
    return connection.execute(
        select(_runs.last_due_at).where(_runs.name == name)
    ).scalar_one_or_none()
