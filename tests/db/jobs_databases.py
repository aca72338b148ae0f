"""Databases as released versions of MLflow left them, with jobs in every state."""

from collections.abc import Iterable

import sqlalchemy
from alembic import command
from alembic.script import ScriptDirectory

from mlflow.entities._job_status import JobStatus
from mlflow.store.db.utils import _get_alembic_config, _get_schema_version
from mlflow.store.tracking.dbmodels.initial_models import Base as InitialBase

# Heads of MLflow's own chain. From 3.17.2 on, jobs have a backend, a lease and locks.
HEADS = {
    "3.10.1": "1b5f0d9ad7c1",
    "3.16.1": "b7e2c1a4d9f3",
    "3.17.2": "dc11669786a5",
    "3.18.0": "f4a9b2c7d1e6",
}
WITH_EXECUTORS = ("3.17.2", "3.18.0")

UNFINISHED = (JobStatus.PENDING, JobStatus.RUNNING)
TERMINAL = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.TIMEOUT, JobStatus.CANCELED)

# 3.18 clears these to the JSON value null.
JSON_COLUMNS = ("status_details", "progress", "scoped_permissions")

# What those releases stored as the result of a job that ended so.
RESULTS = {
    JobStatus.SUCCEEDED: '{"scored": 3}',
    JobStatus.FAILED: "ValueError('no such trace')",
}


def to_revision(engine: sqlalchemy.engine.Engine, revision: str) -> None:
    """Up or down to this revision; an empty database is given MLflow's first tables before."""
    config = _get_alembic_config(engine.url.render_as_string(hide_password=False))
    script = ScriptDirectory.from_config(config)
    current = _get_schema_version(engine)
    behind = set()
    if current is None:
        InitialBase.metadata.create_all(engine)
    else:
        behind = {each.revision for each in script.iterate_revisions(current, "base")}
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        if revision in behind:
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)


def insert_rows_of(engine: sqlalchemy.engine.Engine, release: str) -> None:
    """Write jobs as that release wrote them, named after their states.

    Releases with executors also leave a job in recovery, and a running one that holds a lock.
    """
    present = {column["name"] for column in sqlalchemy.inspect(engine).get_columns("jobs")}
    states = [*UNFINISHED, *TERMINAL]
    if release in WITH_EXECUTORS:
        states.append(JobStatus.NEEDS_RECOVERY)
    rows = []
    for age, status in enumerate(reversed(states)):
        row = {
            "id": status.name,
            "creation_time": 1000 - age,
            "job_name": "job",
            "params": '{"a": 1}',
            "timeout": None,
            "status": status.to_int(),
            "result": RESULTS.get(status),
            "retry_count": 0,
            "last_update_time": 1000,
            "executor_backend": "local",
            **dict.fromkeys(JSON_COLUMNS, sqlalchemy.JSON.NULL),
            "lease_expires_at": 2000 if status is JobStatus.RUNNING else None,
        }
        rows.append({name: value for name, value in row.items() if name in present})
    held = {"lock_key": "key", "job_id": JobStatus.RUNNING.name, "acquired_at": 1000}
    with engine.begin() as connection:
        connection.execute(_table("jobs", rows[0]).insert(), rows)
        if release in WITH_EXECUTORS:
            connection.execute(_table("job_locks", held).insert(), [held])


def clear(engine: sqlalchemy.engine.Engine) -> None:
    """Delete all jobs and locks, of whatever release."""
    with engine.begin() as connection:
        for table in ("job_locks", "jobs"):
            if sqlalchemy.inspect(connection).has_table(table):
                connection.execute(sqlalchemy.table(table).delete())


def shape(engine: sqlalchemy.engine.Engine) -> dict[str, tuple]:
    """Columns, keys and indexes of the jobs tables; params and result may stay wide."""
    inspector = sqlalchemy.inspect(engine)
    return {
        table: (
            {
                column["name"]: (
                    column["type"].compile(engine.dialect),
                    column["nullable"],
                    column["default"],
                )
                for column in inspector.get_columns(table)
                if column["name"] not in ("params", "result")
            },
            inspector.get_pk_constraint(table),
            {
                key["name"]: (key["constrained_columns"], key["options"])
                for key in inspector.get_foreign_keys(table)
            },
            {index["name"]: index["column_names"] for index in inspector.get_indexes(table)},
        )
        for table in ("jobs", "job_locks", "scheduler_leases")
        if inspector.has_table(table)
    }


def statuses(engine: sqlalchemy.engine.Engine) -> dict[str, JobStatus]:
    """The state of every job, by id."""
    jobs = sqlalchemy.table("jobs", sqlalchemy.column("id"), sqlalchemy.column("status"))
    with engine.connect() as connection:
        rows = connection.execute(sqlalchemy.select(jobs.c.id, jobs.c.status))
        return {row.id: JobStatus.from_int(row.status) for row in rows}


def _table(name: str, columns: Iterable[str]) -> sqlalchemy.TableClause:
    json = {column: sqlalchemy.JSON() for column in JSON_COLUMNS}
    return sqlalchemy.table(
        name, *(sqlalchemy.column(column, json.get(column)) for column in columns)
    )
