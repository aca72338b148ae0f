"""The headers with which a process that works for a job says which job it is, and proves it."""

from mlflow.environment_variables import _MLFLOW_SERVER_JOB_ID, MLFLOW_JOB_TOKEN
from mlflow.tracking.request_header.abstract_request_header_provider import RequestHeaderProvider

JOB_ID_HEADER = "X-MLflow-Job-Id"
JOB_TOKEN_HEADER = "X-MLflow-Job-Token"


class JobTokenRequestHeaderProvider(RequestHeaderProvider):
    """Adds the job's id and token to requests where both are in the environment."""

    def in_context(self) -> bool:
        return bool(MLFLOW_JOB_TOKEN.get() and _MLFLOW_SERVER_JOB_ID.get())

    def request_headers(self) -> dict[str, str]:
        return {
            JOB_ID_HEADER: _MLFLOW_SERVER_JOB_ID.get(),
            JOB_TOKEN_HEADER: MLFLOW_JOB_TOKEN.get(),
        }


def job_token_headers() -> dict[str, str]:
    """The headers of this process; none where it works for no job."""
    provider = JobTokenRequestHeaderProvider()
    return provider.request_headers() if provider.in_context() else {}
