"""The public names of the job framework."""

from mlflow.server.jobs.functions import (
    _ALLOWED_JOB_NAME_LIST,
    _SUPPORTED_JOB_FUNCTION_LIST,
    JobFunctionMetadata,
    TransientError,
    job,
)
from mlflow.server.jobs.submission import (
    _current_authenticated_user,
    cancel_job,
    get_job,
    submit_job,
)
from mlflow.server.jobs.tracking_redirect import use_backend_store_for_tracking

__all__ = [
    "_ALLOWED_JOB_NAME_LIST",
    "_SUPPORTED_JOB_FUNCTION_LIST",
    "JobFunctionMetadata",
    "TransientError",
    "_current_authenticated_user",
    "cancel_job",
    "get_job",
    "job",
    "submit_job",
    "use_backend_store_for_tracking",
]
