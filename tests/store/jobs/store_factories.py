"""Jobs, claims and terms for the tests of the store; what does not matter is filled in."""

from collections.abc import Callable

import sqlalchemy

from mlflow.entities._job import Job
from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import tables
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.jobs.values import ClaimBatch, ClaimedJob, RecoveryCandidate, Term

LEASE_SECONDS = 30.0


def empty(store: SqlAlchemyJobStore) -> None:
    """No jobs, locks, leases or checkpoints, and the database's own time."""
    with store.engine.begin() as connection:
        for table in (
            tables.job_locks,
            tables.jobs,
            tables.scheduler_leases,
            tables.job_periodic_runs,
            tables.experiment_tags,
        ):
            connection.execute(table.delete())
    store.clock_offset_ms = 0


def not_exclusive(job_name, params, workspace) -> None:
    return None


def claim(
    store: SqlAlchemyJobStore,
    replica: str = "replica-a",
    backends=(None, "local"),
    capacity: dict[str, int] | None = None,
    lease_seconds: float = LEASE_SECONDS,
    lock_key_for: Callable = not_exclusive,
    **others,
) -> ClaimBatch:
    capacity = {"job": 10, "other": 10} if capacity is None else capacity
    return store.claim_batch(replica, backends, capacity, lease_seconds, lock_key_for, **others)


def claim_suspect(
    store: SqlAlchemyJobStore, replica: str = "replica-a", job_names=("job", "other"), **others
) -> ClaimBatch:
    how = {"backends": (None, "local"), "lock_key_for": not_exclusive, **others}
    return store.claim_suspect(replica, job_names=job_names, lease_seconds=LEASE_SECONDS, **how)


def claim_again(store: SqlAlchemyJobStore, replica: str = "replica-a") -> ClaimedJob:
    """Claim the only job that is due, be it a suspect or not."""
    (claimed,) = claim(store, replica).claimed or claim_suspect(store, replica).claimed
    return claimed


def claim_one(store: SqlAlchemyJobStore, replica: str = "replica-a", **creation) -> ClaimedJob:
    """Create a job and claim it."""
    job = create(store, **creation)
    (claimed,) = claim(store, replica).claimed
    assert claimed.claim.job_id == job.job_id
    return claimed


def create(store: SqlAlchemyJobStore, job_name: str = "job", params: str = "{}", **others) -> Job:
    return store.create_job(job_name, params, **others)


def lead(store: SqlAlchemyJobStore, holder: str = "leader", ttl_seconds: float = 20.0) -> Term:
    term = store.acquire_scheduler_lease("scheduler", holder, ttl_seconds)
    assert term is not None
    return term


def to_recovery(
    store: SqlAlchemyJobStore, claimed: ClaimedJob, lost: bool = False
) -> RecoveryCandidate:
    """Abandon a claimed job and answer what recovery finds."""
    assert store.abandon([claimed.claim], lost=lost) == 1
    (candidate,) = store.recovery_candidates()
    return candidate


def row_of(store: SqlAlchemyJobStore, job_id: str) -> sqlalchemy.Row:
    with store.engine.connect() as connection:
        return connection.execute(
            sqlalchemy.select(tables.jobs).where(tables.jobs.c.id == job_id)
        ).one()


def locks_of(store: SqlAlchemyJobStore) -> dict[str, tuple[str, int]]:
    with store.engine.connect() as connection:
        rows = connection.execute(sqlalchemy.select(tables.job_locks)).all()
    return {row.lock_key: (row.job_id, row.fence) for row in rows}


def status_of(store: SqlAlchemyJobStore, job_id: str) -> JobStatus:
    return store.get_job(job_id).status


def insert_raw(store: SqlAlchemyJobStore, table: sqlalchemy.Table, **values) -> None:
    """Write a row as other software would."""
    with store.engine.begin() as connection:
        connection.execute(table.insert().values(**values))


def change_raw(store: SqlAlchemyJobStore, job_id: str, **values) -> None:
    """Change a row as other software would."""
    with store.engine.begin() as connection:
        connection.execute(tables.jobs.update().where(tables.jobs.c.id == job_id).values(**values))
