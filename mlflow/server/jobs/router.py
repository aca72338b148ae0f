"""Choose the backend of a submission, or say why none can run it.

The choice is made once. It is stored on the row, and retry, cancel and recovery follow the row.
"""

from collections.abc import Mapping
from typing import Any

from mlflow.genai.scorers.scorer_utils import (
    is_online_scoring_job,
    params_contain_custom_scorer_code,
)
from mlflow.server.jobs.errors import InvalidSubmission
from mlflow.server.jobs.executor_registry import JobExecutorRegistry, get_executor_registry
from mlflow.server.jobs.remote.permissions import refuse_direct_models
from mlflow.server.jobs.settings import JobSettings


class JobRouter:
    """The routing rules of one server: its settings and its configured backends."""

    def __init__(self, settings: JobSettings, registry: JobExecutorRegistry) -> None:
        self._settings = settings
        self._registry = registry

    def route(self, job_name: str, params: Mapping[str, Any]) -> str:
        """The name of the backend instance that is to run this submission.

        Raises:
            InvalidSubmission: custom scorers are off here, no backend runs such a job, or the
                backend cannot reach a model that the job names.
            UnknownBackend: the settings name a backend that this server does not have.
            MlflowException: a serialized scorer in `params` cannot be read.
        """
        params = dict(params)
        has_custom_scorer = _has_custom_scorer(job_name, params)
        if has_custom_scorer and not self._settings.custom_scorers_enabled:
            raise InvalidSubmission(
                "params",
                "holds the source of a custom scorer, and this server runs none: its operator has "
                "not set MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS=true",
            )
        backend = self.select(job_name, params, has_custom_scorer)
        executor = self._registry.get(backend)
        if not executor.supports_job(job_name, params):
            raise InvalidSubmission(
                "job_name", f"{job_name!r} with these params does not run on backend {backend!r}"
            )
        refuse_direct_models(executor, backend, job_name, params)
        return backend

    def choose(self, job_name: str, params: Mapping[str, Any]) -> str:
        """The backend for such a job, whether or not it can be run there."""
        params = dict(params)
        return self.select(job_name, params, _has_custom_scorer(job_name, params))

    def select(self, job_name: str | None, params: dict[str, Any], has_custom_scorer: bool) -> str:
        """The backend for a job that may be run at all; see `select_executor_backend`."""
        chosen = self._settings.custom_scorer_backend
        if not has_custom_scorer or not chosen:
            return self._settings.default_backend
        if job_name is None or self._registry.get(chosen).supports_job(job_name, params):
            return chosen
        if is_online_scoring_job(job_name):
            # Such a job itself hands its custom scorers to job containers, or leaves them out.
            return self._settings.default_backend
        raise InvalidSubmission(
            "params",
            f"holds the source of a custom scorer, which this server runs on backend {chosen!r} "
            f"only, and that backend does not run {job_name!r}",
        )


def select_executor_backend(
    *,
    is_custom_scorer: bool,
    job_name: str | None = None,
    params: dict[str, Any] | None = None,
) -> str:
    """The backend name for a job by this server's settings, by the name that 3.18 gave it.

    Args:
        is_custom_scorer: Whether the params carry the source of a custom scorer.
        job_name: None asks for the backend of such jobs in general.
        params: The job's parameters.

    Raises:
        InvalidSubmission: the backend for custom scorers cannot run this job.
    """
    router = JobRouter(JobSettings.from_env(), get_executor_registry())
    return router.select(job_name, params or {}, is_custom_scorer)


def _has_custom_scorer(job_name: str, params: dict[str, Any]) -> bool:
    try:
        return params_contain_custom_scorer_code(job_name, params)
    except RecursionError:
        raise InvalidSubmission("params", "holds a scorer that is nested too deep") from None
