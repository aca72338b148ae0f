"""Fill the table of jobs with many rows at once."""

import sqlalchemy
from sqlalchemy import BigInteger, String, cast, func, literal, select

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.jobs.tables import jobs

_CHUNK = 100_000


def fill(
    store: SqlAlchemyJobStore,
    count: int,
    status: JobStatus,
    job_name: str,
    workspaces: int = 1,
) -> None:
    """Insert so many rows in this state, older than any that follows, and tell the planner."""
    for begin in range(0, count, _CHUNK):
        rows = _rows(begin, min(begin + _CHUNK, count), status, job_name, workspaces)
        with store.engine.begin() as connection:
            connection.execute(jobs.insert().from_select(rows.selected_columns.keys(), rows))
    _tell_the_planner(store)


def end(store: SqlAlchemyJobStore, count: int, job_name: str) -> None:
    """Have so many jobs submitted, claimed and ended: each leaves two dead versions of its row."""
    fill(store, count, JobStatus.PENDING, job_name)
    steps = [
        {"status": JobStatus.RUNNING.to_int(), "fence": 1, "lease_expires_at": 1},
        {"status": JobStatus.SUCCEEDED.to_int(), "lease_expires_at": None},
    ]
    for begin in range(0, count, _CHUNK):
        created = jobs.c.creation_time.between(begin, begin + _CHUNK - 1)
        for step in steps:
            with store.engine.begin() as connection:
                connection.execute(jobs.update().where(created).values(step))
    _tell_the_planner(store)


def _tell_the_planner(store: SqlAlchemyJobStore) -> None:
    statement = "VACUUM ANALYZE jobs" if store.db_type == "postgresql" else "ANALYZE"
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(statement)


def _rows(
    begin: int, end: int, status: JobStatus, job_name: str, workspaces: int
) -> sqlalchemy.Select:
    numbers = select(literal(begin, BigInteger).label("number")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.number + 1).where(numbers.c.number < end - 1))
    number = numbers.c.number
    return select(
        literal(f"{status}-{job_name}-"[:20]).concat(cast(number, String)).label("id"),
        number.label("creation_time"),
        literal(job_name).label("job_name"),
        literal("{}").label("params"),
        literal("team-").concat(cast(func.mod(number, workspaces), String)).label("workspace"),
        literal(status.to_int()).label("status"),
        literal("null").label("result"),
        literal(0).label("retry_count"),
        number.label("last_update_time"),
        literal("local").label("executor_backend"),
        literal(0 if status is JobStatus.PENDING else 1).label("fence"),
    )
