"""What a remote workload reports becomes the same transition as an owner's result (T5, T6, T7)."""

import json

from mlflow.entities._job_status import JobStatus
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_CONFLICT
from mlflow.server.jobs.executor import JobResult
from mlflow.server.jobs.lifecycle import checkpoint_move
from mlflow.server.jobs.outcome import Fail, Outcome, Retry, RetryPolicy, Succeed, TimeOut, decide
from mlflow.server.jobs.remote.judge import TokenNotAccepted
from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.values import CheckpointMove, JobUpdateStatus, TokenJob
from mlflow.utils.workspace_context import ServerWorkspaceContext


class ReportedOtherwise(MlflowException):
    """The job has ended in another way than is reported now, and stays as it is (I2)."""

    def __init__(self, job_id: str, status: JobStatus | None) -> None:
        super().__init__(
            f"Job {job_id} is {status}, and this report says otherwise. Nothing is changed.",
            RESOURCE_CONFLICT,
        )


def report_result(
    store: AbstractJobStore, job: TokenJob, reported: JobResult, policy: RetryPolicy
) -> None:
    """Write what the workload of a job says about its end; saying it again changes nothing.

    Args:
        store: The job store.
        job: The job, as its token showed it.
        reported: How it ended.
        policy: Bounds and waits of retries.

    Raises:
        ReportedOtherwise: The job has another end already.
        TokenNotAccepted: The claim is another by now.
        InvalidJobField: The result cannot be stored.
    """
    status = _write(store, job, _outcome(job, reported, policy))
    if status is JobUpdateStatus.WRONG_STATE:
        now = store.job_of_token(job.holder)
        raise ReportedOtherwise(job.job_id, now and now.status)
    if status is JobUpdateStatus.CLAIM_LOST:
        raise TokenNotAccepted("the job has been claimed anew")


def _outcome(job: TokenJob, reported: JobResult, policy: RetryPolicy) -> Outcome:
    if reported.is_transient_error and job.status is JobStatus.PENDING:
        # Reported before, and counted.
        return Retry(reported.error_message or "", 0.0)
    return decide(reported, job.retry_count, policy)


def _write(store: AbstractJobStore, job: TokenJob, outcome: Outcome) -> JobUpdateStatus:
    match outcome:
        case Succeed(result=result):
            return store.succeed(job.holder, result, _checkpoint(store, job))
        case TimeOut(error=error):
            return store.time_out(job.holder, error)
        case Retry(error=error, delay=delay):
            return store.retry(job.holder, error, delay)
        case Fail(error=error):
            return store.fail(job.holder, error)


def _checkpoint(store: AbstractJobStore, job: TokenJob) -> CheckpointMove | None:
    with ServerWorkspaceContext(job.workspace):
        row = store.get_job(job.job_id)
    return checkpoint_move(row.job_name, json.loads(row.params))
