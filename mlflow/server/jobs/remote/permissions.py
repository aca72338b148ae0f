"""What the token of a job that runs elsewhere will open, decided when the job is submitted.

EDIT on its experiment, USE on the gateway endpoints that it calls, READ on the prompts that it
reads. This is read from the params, and, for custom scorers, from what they declare; no scorer is
deserialized and no code is run. What cannot be granted is refused now: the workload would only find
out later, with half of its work done.

Identifiers are those that a request names: the experiment's id, the endpoint's name, the prompt's
name.
"""

from collections.abc import Mapping
from typing import Any

from mlflow.entities._job import JobScopedPermission
from mlflow.genai.scorers.needs import Needs
from mlflow.server.jobs.errors import InvalidSubmission
from mlflow.server.jobs.executor import AbstractJobExecutor
from mlflow.server.jobs.functions import is_built_in
from mlflow.server.jobs.remote.job_needs import needs_of_job
from mlflow.server.jobs.remote.prompt_optimization import needs_of_optimization


def grant_for(
    executor: AbstractJobExecutor,
    backend: str,
    job_name: str,
    params: Mapping[str, Any],
    workspace: str | None = None,
) -> list[JobScopedPermission] | None:
    """The grant of a job on this backend, or None where jobs run beside the server without one.

    Args:
        executor: The backend's executor.
        backend: The backend's name.
        job_name: The job.
        params: Its params, as they were validated.
        workspace: Where the experiment, the endpoints and the prompts are; None without workspaces.

    Raises:
        InvalidSubmission: The job needs what cannot be told or granted.
    """
    if not executor.remote_execution:
        return None
    total = Needs()
    for field, needs in needs_of_job(job_name, params):
        _refuse_what_cannot_be_granted(executor, backend, field, needs)
        total |= needs
    experiment_id = _experiment_id(job_name, params)
    if job_name == "optimize_prompts":
        for field, needs in needs_of_optimization(params):
            _refuse_what_cannot_be_granted(executor, backend, field, needs)
            total |= needs
    opened = [
        *(("experiment", e, "EDIT") for e in ([experiment_id] if experiment_id else [])),
        *(("gateway_endpoint", name, "USE") for name in sorted(total.endpoints)),
        *(("prompt", name, "READ") for name in sorted(total.prompts)),
    ]
    return [
        JobScopedPermission(kind, identifier, workspace, permission)
        for kind, identifier, permission in opened
    ]


def refuse_direct_models(
    executor: AbstractJobExecutor, backend: str, job_name: str, params: Mapping[str, Any]
) -> None:
    """Refuse a job that calls a model which its backend does not reach.

    Raises:
        InvalidSubmission: There is such a model; the message says whose it is.
    """
    if executor.remote_execution and not executor.supports_direct_provider_models:
        for field, needs in needs_of_job(job_name, params):
            _refuse_outside_gateway(backend, field, needs)


def _refuse_what_cannot_be_granted(
    executor: AbstractJobExecutor, backend: str, field: str, needs: Needs
) -> None:
    if not executor.supports_direct_provider_models:
        _refuse_outside_gateway(backend, field, needs)
    if needs.untold:
        raise InvalidSubmission(field, f"{needs.untold[0]} (backend {backend!r} is remote)")


def _refuse_outside_gateway(backend: str, field: str, needs: Needs) -> None:
    if needs.outside_gateway:
        raise InvalidSubmission(
            field,
            f"{needs.outside_gateway[0]}, which is not behind the AI Gateway, and backend "
            f"{backend!r} reaches no other; use a gateway:/ endpoint",
        )


def _experiment_id(job_name: str, params: Mapping[str, Any]) -> str | None:
    experiment_id = params.get("experiment_id")
    if isinstance(experiment_id, str) and experiment_id:
        return experiment_id
    if is_built_in(job_name):
        raise InvalidSubmission(
            "params.experiment_id", "is required: it is what a job on a remote backend may work on"
        )
    return None
