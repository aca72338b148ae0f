"""Whether a job token opens what a request asks for. Keeps I8, whatever user auth there is."""

from collections.abc import Callable, Sequence

from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, UNAUTHENTICATED
from mlflow.server.jobs.remote.allowed_routes import AllowedRoute
from mlflow.server.jobs.remote.requested import Asked, Resource
from mlflow.server.jobs.remote.token_headers import only_value
from mlflow.server.jobs.validation import is_storable_text
from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.job_tokens import hash_of
from mlflow.store.jobs.values import TokenHolder, TokenJob
from mlflow.tracking.request_header.job_token_request_header_provider import (
    JOB_ID_HEADER,
    JOB_TOKEN_HEADER,
)
from mlflow.utils.workspace_context import get_request_workspace

# Whoever may do more may do less. A permission of another name is worth nothing.
_RANKS = {"READ": 1, "USE": 2, "EDIT": 3}

HeaderValues = Callable[[str], Sequence[str]]


class TokenNotAccepted(MlflowException):
    """The request shows no live job token."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The job token is not accepted: {reason}.", UNAUTHENTICATED)


class NotGranted(MlflowException):
    """The job token is good, but does not open this."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The job token does not open this: {reason}.", PERMISSION_DENIED)


def carries_job_token(header_values: HeaderValues) -> bool:
    """Whether a request is to be judged by a job's grant, and so not by user auth."""
    return bool(header_values(JOB_ID_HEADER) or header_values(JOB_TOKEN_HEADER))


def judge(
    store: AbstractJobStore,
    header_values: HeaderValues,
    route: AllowedRoute | None,
    asked: Asked,
) -> TokenJob:
    """Answer the job that makes a request which its token opens.

    Args:
        store: The job store.
        header_values: All values of a header, by its name.
        route: The row of the table that fits the request; None when none does.
        asked: What the request says.

    Raises:
        TokenNotAccepted: 401.
        NotGranted: 403.
        MlflowException: The request itself cannot be read.
    """
    job = holder_of(store, header_values)
    if not job.live and (route is None or route.live):
        raise TokenNotAccepted("the claim that it was made for has ended")
    if route is None:
        raise NotGranted("no job token opens this route")
    if route.in_workspace and _is_elsewhere(job):
        raise NotGranted(f"the job belongs to workspace {job.workspace!r}")
    for resource in route.find(asked):
        if not _permits(job, resource, route.permission):
            name = f"{resource.type} {resource.identifier!r}"
            raise NotGranted(f"the job was not granted {route.permission} of {name}")
    return job


def holder_of(store: AbstractJobStore, header_values: HeaderValues) -> TokenJob:
    """The job of the token that the headers show, live or not.

    Raises:
        TokenNotAccepted: 401.
    """
    job_id = only_value(header_values(JOB_ID_HEADER))
    token = only_value(header_values(JOB_TOKEN_HEADER))
    if job_id is None or token is None:
        raise TokenNotAccepted(f"{JOB_ID_HEADER} and {JOB_TOKEN_HEADER} are each to be sent once")
    job = None
    if is_storable_text(job_id):
        job = store.job_of_token(TokenHolder(job_id, hash_of(token)))
    if job is None:
        raise TokenNotAccepted("it is not of this job, or the job has been claimed anew")
    return job


def _is_elsewhere(job: TokenJob) -> bool:
    return MLFLOW_ENABLE_WORKSPACES.get() and get_request_workspace() != job.workspace


def _permits(job: TokenJob, resource: Resource, permission: str) -> bool:
    if resource.type == "job":
        return resource.identifier == job.job_id
    return _granted(job, resource.type, resource.identifier, permission) or (
        bool(also := resource.also()) and _granted(job, resource.type, also, permission)
    )


def _granted(job: TokenJob, resource_type: str, identifier: str, permission: str) -> bool:
    return any(
        each.resource_type == resource_type
        and each.resource_identifier == identifier
        and each.workspace in (None, job.workspace)
        and _RANKS.get(each.permission, 0) >= _RANKS[permission]
        for each in job.permissions
        if identifier
    )
