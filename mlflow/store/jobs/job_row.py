"""A row of `jobs` as the Job entity that the API shows, with what this store knows beyond it."""

import math
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Row

from mlflow.entities._job import Job, JobProgress, JobScopedPermission
from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import crashes
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.transitions import CREATE, SUCCEEDED, TERMINAL
from mlflow.store.jobs.values import Crash

_STATUS_OF_CODE = {status.to_int(): status for status in JobStatus}

_OF_NO_ENTITY = {
    "sealed_environment",
    "discovered_by",
    "claimed_by",
    "crashed_at",
    "issued_token_hash",
}

COLUMNS = [column for column in jobs.c if column.name not in _OF_NO_ENTITY]
_NEW = dict.fromkeys(column.name for column in COLUMNS) | {
    "status": CREATE.enters.to_int(),
    "retry_count": 0,
}


class StoredJob(Job):
    """A Job as it came from the store.

    Attributes:
        crashes: When and where its runner or process was lost, the latest last.
        had_extra_envs: Whether it was submitted with environment variables of its own.
    """

    def __init__(self, crashes: tuple[Crash, ...], had_extra_envs: bool, **fields) -> None:
        super().__init__(**fields)
        self.crashes = crashes
        self.had_extra_envs = had_extra_envs

    @classmethod
    def _properties(cls):
        # The helper that does this for entities does not look at base classes.
        return Job._properties()


def to_entity(row: Row) -> StoredJob:
    """The Job of a row that was read with `COLUMNS`."""
    status = status_of(row)
    failed = status in TERMINAL and status is not SUCCEEDED
    return StoredJob(
        crashes=crashes.read(row.crashes),
        had_extra_envs=bool(row.had_extra_envs),
        job_id=row.id,
        creation_time=row.creation_time,
        job_name=row.job_name,
        params=row.params,
        timeout=row.timeout,
        status=status,
        result=row.result,
        retry_count=row.retry_count,
        # A report of progress leaves the column alone.
        last_update_time=max(row.last_update_time, row.progress_updated_at or 0),
        workspace=row.workspace,
        status_details=_of_type(row.status_details, dict),
        creator=row.creator,
        error_message=row.result if failed else None,
        executor_backend=row.executor_backend,
        lease_expires_at=row.lease_expires_at,
        status_message=row.status_message,
        progress=_progress(row.progress),
        progress_updated_at=row.progress_updated_at,
        token_hash=row.token_hash,
        scoped_permissions=_permissions(row.scoped_permissions),
    )


def of_new(values: dict[str, Any], creation_time: int) -> StoredJob:
    """The Job of a row that was inserted just now (T1), with these values and at that time."""
    times = {"creation_time": creation_time, "last_update_time": creation_time}
    return to_entity(SimpleNamespace(**_NEW | times | values))


def status_of(row: Row) -> JobStatus | None:
    """The row's state; None for a code that this release does not know."""
    return _STATUS_OF_CODE.get(row.status)


def _progress(value) -> JobProgress | None:
    if not isinstance(value, dict):
        return None
    return JobProgress(
        phase=_of_type(value.get("phase"), str),
        completed=_count(value.get("completed")),
        total=_count(value.get("total")),
        unit=_of_type(value.get("unit"), str),
    )


def _count(value) -> int | None:
    if isinstance(value, float) and math.isfinite(value):
        return int(value)
    return value if type(value) is int else None


def _of_type(value, expected):
    return value if isinstance(value, expected) else None


def grant(value) -> tuple[JobScopedPermission, ...]:
    """The permissions of a row as values; what cannot be read grants nothing."""
    return tuple(JobScopedPermission.from_dict(each) for each in _permissions(value) or [])


def _permissions(value) -> list[dict] | None:
    if not isinstance(value, list):
        return None
    return [
        each
        for each in value
        if isinstance(each, dict) and {"resource_type", "resource_identifier"} <= each.keys()
    ]
