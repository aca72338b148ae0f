"""What the framework does with a result: T5, T6 or T7. Pure."""

from dataclasses import dataclass, field

from mlflow.entities._job_status import JobStatus
from mlflow.server.jobs.backoff import delay_seconds
from mlflow.server.jobs.executor import JobResult


@dataclass(frozen=True)
class RetryPolicy:
    """How often a transient failure is repeated, and how long the waits are, in seconds."""

    max_retries: int
    base_delay: float
    max_delay: float


@dataclass(frozen=True)
class Succeed:
    """T5, with the JSON text that the function returned."""

    result: str | None = field(repr=False)


@dataclass(frozen=True)
class Fail:
    """T6 into FAILED."""

    error: str


@dataclass(frozen=True)
class TimeOut:
    """T6 into TIMEOUT."""

    error: str | None


@dataclass(frozen=True)
class Retry:
    """T7, due again after so many seconds."""

    error: str
    delay: float


Outcome = Succeed | Fail | TimeOut | Retry


def decide(result: JobResult, retry_count: int, policy: RetryPolicy) -> Outcome:
    """Choose the transition that a result asks for.

    Args:
        result: What the executor returned.
        retry_count: How often this job was retried before.
        policy: Bounds and waits of retries.
    """
    if result.status is JobStatus.SUCCEEDED:
        return Succeed(result.result)
    if result.status is JobStatus.TIMEOUT:
        return TimeOut(result.error_message)
    if result.status is JobStatus.CANCELED:
        return Fail(result.error_message or "The backend ended the job before it had a result.")
    if result.status is not JobStatus.FAILED:
        return Fail(f"The backend reported {result.status}, which is not the end of a job.")
    error = result.error_message or "The job failed without an error message."
    if not result.is_transient_error:
        return Fail(error)
    if retry_count < policy.max_retries:
        return Retry(error, delay_seconds(retry_count, policy.base_delay, policy.max_delay))
    return Fail(f"{error} (given up after {retry_count} retries)" if retry_count else error)
