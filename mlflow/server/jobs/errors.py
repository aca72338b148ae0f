"""What can go wrong between a submission and its result; each error names what it is about."""

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
    INVALID_STATE,
)


class JobError(MlflowException):
    """Something went wrong in the job framework."""

    code = INTERNAL_ERROR

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__, error_code=self.code)


class InvalidSubmission(JobError):
    """A field of a submission cannot be accepted."""

    code = INVALID_PARAMETER_VALUE

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class UnknownJobName(JobError):
    """No job function is registered under this name."""

    code = INVALID_PARAMETER_VALUE

    def __init__(self, job_name: str) -> None:
        super().__init__(f"Invalid job name: {job_name}")
        self.job_name = job_name


class UnknownBackend(JobError):
    """No executor backend of this name is configured on this server."""

    code = INVALID_PARAMETER_VALUE

    def __init__(self, backend: str, known: list[str], reason: str | None = None) -> None:
        available = ", ".join(known) or "none"
        message = f"Job executor backend {backend!r} is not available (available: {available})"
        super().__init__(f"{message}: {reason}" if reason else f"{message}.")
        self.backend = backend


class BackendUnusable(JobError):
    """A configured executor backend cannot be used on this server."""

    code = INVALID_PARAMETER_VALUE

    def __init__(self, backend: str, reason: str) -> None:
        super().__init__(f"Job executor backend {backend!r} cannot be used: {reason}")
        self.backend = backend


class InvalidSetting(JobError):
    """An environment variable holds a value that the job framework cannot use."""

    code = INVALID_PARAMETER_VALUE

    def __init__(self, variable: str, value: str, expected: str) -> None:
        super().__init__(f"{variable} must be {expected}, not {value!r}.")
        self.variable = variable


class SealedEnvironmentUnreadable(JobError):
    """The extra environment variables stored with a job cannot be decrypted here."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"The environment variables submitted with job {job_id} cannot be decrypted. Every "
            "replica needs the MLFLOW_CRYPTO_KEK_PASSPHRASE that was set when it was submitted."
        )
        self.job_id = job_id


class ExecutorStopped(JobError):
    """The executor was stopped while it ran this job; the job is left for recovery."""

    code = INVALID_STATE

    def __init__(self, job_id: str) -> None:
        super().__init__(f"The executor was stopped before job {job_id} had ended.")
        self.job_id = job_id
