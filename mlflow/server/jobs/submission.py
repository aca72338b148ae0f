"""Submit, look up and cancel jobs: validate, route, store, wake."""

import uuid
from collections.abc import Callable
from types import FunctionType
from typing import Any

from flask import g, has_request_context

from mlflow.entities._job import Job
from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.server.handlers import _get_job_store
from mlflow.server.jobs.errors import InvalidSubmission, JobError
from mlflow.server.jobs.executor import AbstractJobExecutor
from mlflow.server.jobs.executor_registry import get_executor_registry
from mlflow.server.jobs.functions import _ALLOWED_JOB_NAME_LIST, JobFunctionMetadata
from mlflow.server.jobs.lock_manager import lock_key
from mlflow.server.jobs.remote.holders import require_held
from mlflow.server.jobs.remote.permissions import grant_for
from mlflow.server.jobs.requirements import check_requirements
from mlflow.server.jobs.router import JobRouter
from mlflow.server.jobs.sealed_environment import seal
from mlflow.server.jobs.settings import JobSettings
from mlflow.server.jobs.submitting_term import submitting_term
from mlflow.server.jobs.validation import (
    is_storable_text,
    validate_extra_envs,
    validate_parameters,
    validate_timeout,
)
from mlflow.server.jobs.wakeups.announce import announce
from mlflow.server.jobs.wakeups.base import Hint
from mlflow.store.jobs.errors import JobNotFound
from mlflow.telemetry.issue_detection import record_issue_detection_cancellation
from mlflow.utils.workspace_context import get_request_workspace


def submit_job(
    function: Callable[..., Any],
    params: dict[str, Any],
    timeout: float | None = None,
    extra_envs: dict[str, str] | None = None,
    creator: str | None = None,
) -> Job:
    """Store a job for the runners of this database to run. What is refused leaves no row.

    Args:
        function: A module-level function decorated with `@job`. To be run again after a failure
            that may pass, it raises `TransientError` or one of its declared transient classes.
        params: Keyword arguments of the function, as JSON values.
        timeout: Seconds that one attempt may take. Without one, an exclusive job gets its
            backend's default and any other job has no limit.
        extra_envs: Environment variables for the job's process. They are stored encrypted, and
            erased when the job ends.
        creator: User to record as the owner; by default the user of the current request.

    Returns:
        The job, PENDING.

    Raises:
        MlflowException: INTERNAL_ERROR: jobs are off or impossible on this server, or `function`
            is not a job function. INVALID_PARAMETER_VALUE: a field is wrong; the message names it.
            PERMISSION_DENIED: on its remote backend the job would be granted what `creator` does
            not hold.
        LeadershipLost: Submitted by a periodic task whose term has ended.
    """
    settings = _settings_where_jobs_run()
    metadata = _metadata_of(function)
    params_json = validate_parameters(function, params)
    timeout = validate_timeout(timeout)
    extra_envs = validate_extra_envs(extra_envs)

    registry = get_executor_registry()
    backend = JobRouter(settings, registry).route(metadata.name, params)
    executor = registry.get(backend)
    _refuse_envs_that_would_be_lost(extra_envs, backend, executor)
    if metadata.exclusive and timeout is None:
        # A lock that its holder does not give back is stale only by the holder's timeout (I4).
        timeout = executor.config.default_timeout or settings.default_timeout

    workspace = get_request_workspace() if MLFLOW_ENABLE_WORKSPACES.get() else None
    creator = _current_authenticated_user() if creator is None else creator
    grant = grant_for(executor, backend, metadata.name, params, workspace)
    require_held(creator, grant or [])

    # Made here and not by the store, so that the seal can be bound to it.
    job_id = str(uuid.uuid4())
    store = _get_job_store()
    job = store.create_job(
        metadata.name,
        params_json,
        timeout=timeout,
        creator=creator,
        executor_backend=backend,
        lock_key=lock_key(metadata.name, params, metadata.exclusive, workspace),
        scoped_permissions=grant,
        sealed_environment=seal(job_id, extra_envs) if extra_envs else None,
        term=submitting_term(),
        job_id=job_id,
        # Before the job is read back: the runner need not wait for that.
        on_committed=lambda: announce(store, Hint.WORK),
    )
    if job is None:
        raise JobError(f"The leader's last {metadata.name} of the same lock key has not ended.")
    return job


def get_job(job_id: str) -> Job:
    """The job with this id.

    Raises:
        JobNotFound: there is none, or none in this workspace.
    """
    return _get_job_store().get_job(_searchable(job_id))


def cancel_job(job_id: str) -> Job:
    """Cancel a job that has not ended. Its row says CANCELED at once; its work stops soon after.

    Raises:
        JobNotFound: there is no such job, or none in this workspace.
        MlflowException: INVALID_PARAMETER_VALUE: it has ended already.
    """
    store = _get_job_store()
    job = store.cancel_job(_searchable(job_id))
    announce(store, Hint.CANCEL)
    record_issue_detection_cancellation(job)
    return job


def _settings_where_jobs_run() -> JobSettings:
    settings = JobSettings.from_env()
    if not settings.enabled:
        raise JobError("This server takes no jobs: MLFLOW_SERVER_ENABLE_JOB_EXECUTION is false.")
    check_requirements()
    return settings


def _metadata_of(function: Any) -> JobFunctionMetadata:
    if not isinstance(function, FunctionType) or "." in function.__qualname__:
        raise JobError(f"A job is a function at the top of a module, which {function!r} is not.")
    metadata = getattr(function, "_job_fn_metadata", None)
    if metadata is None:
        raise JobError(
            f"{function.__module__}.{function.__qualname__} is no job: it is not decorated with "
            "mlflow.server.jobs.job."
        )
    if metadata.name not in _ALLOWED_JOB_NAME_LIST:
        raise InvalidSubmission("job_name", f"{metadata.name!r} may not be run on this server")
    return metadata


def _refuse_envs_that_would_be_lost(
    extra_envs: dict[str, str], backend: str, executor: AbstractJobExecutor
) -> None:
    if extra_envs and not executor.accepts_extra_envs:
        raise InvalidSubmission(
            "extra_envs",
            f"cannot be given to backend {backend!r}; configure credentials where it runs its jobs",
        )


def _searchable(job_id: str) -> str:
    # PostgreSQL's driver raises on a NUL instead of finding nothing.
    if not is_storable_text(job_id):
        raise JobNotFound(job_id)
    return job_id


def _current_authenticated_user() -> str | None:
    return getattr(g, "mlflow_authenticated_user", None) if has_request_context() else None
