"""The errors of the job store, each an MlflowException with the HTTP status it means."""

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
    RESOURCE_CONFLICT,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
)


class JobNotFound(MlflowException):
    """No job of this id is visible here."""

    def __init__(self, job_id: str):
        super().__init__(f"Job {job_id} was not found.", error_code=RESOURCE_DOES_NOT_EXIST)


class UnknownJobStatus(MlflowException):
    """Another release has left the job in a state that this one does not know."""

    def __init__(self, job_id: str, code: int):
        super().__init__(
            f"Job {job_id} has the status code {code}, which this release of MLflow does not know.",
            error_code=INTERNAL_ERROR,
        )


class JobTerminalStateUpdateException(MlflowException):
    """The job has reached a terminal state, which nothing changes any more (I2)."""

    def __init__(self, job_id: str, status: str):
        super().__init__(
            f"Job {job_id} is finalized ({status}) and accepts no further update.",
            error_code=INVALID_PARAMETER_VALUE,
        )


class InvalidJobTransition(MlflowException):
    """The job is in a state that the requested transition does not leave."""

    def __init__(self, job_id: str, status: str, verb: str):
        super().__init__(
            f"Job {job_id} is {status}; it is not possible to {verb} it now.",
            error_code=INVALID_PARAMETER_VALUE,
        )


class InvalidJobField(MlflowException):
    """A value that cannot be stored as it is; the message names its field."""

    def __init__(self, field: str, problem: str):
        self.field = field
        super().__init__(f"`{field}` {problem}.", error_code=INVALID_PARAMETER_VALUE)


class FieldTooLarge(InvalidJobField):
    """The text is larger than one statement of this database carries."""

    def __init__(self, field: str, size_bytes: int, limit_bytes: int, setting: str = ""):
        by = f", by its {setting}" if setting else ""
        super().__init__(
            field, f"takes {size_bytes} bytes; this database stores at most {limit_bytes}{by}"
        )


class ResultTooLarge(FieldTooLarge):
    """`FieldTooLarge`, of a job's result."""


class LeadershipLost(MlflowException):
    """The scheduler lease is no longer held under this term, so nothing was written (I6)."""

    def __init__(self, lease_key: str, holder: str, fence: int):
        super().__init__(
            f"{holder} no longer leads {lease_key!r} (term {fence}).",
            error_code=RESOURCE_CONFLICT,
        )


class NotAllSucceeded(Exception):
    """Of several claims that were to succeed together some were refused, so that none has (I1)."""


class JobsSchemaOutOfDate(MlflowException):
    """The database lacks what this release adds to the jobs tables."""

    def __init__(self, found: str | None, expected: str):
        super().__init__(
            f"The jobs tables of this database are at revision {found or 'none'}, and this "
            f"release needs {expected}. Back the database up, then run "
            "`mlflow db upgrade <database_uri>`.",
            error_code=INTERNAL_ERROR,
        )


class JobStoreUnavailable(MlflowException):
    """The database refused or broke off; the message carries no values of the statement."""

    def __init__(self, problem: str):
        super().__init__(f"The job store's database failed: {problem}", TEMPORARILY_UNAVAILABLE)
