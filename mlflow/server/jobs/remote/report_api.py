"""The HTTP interface of remote workloads: report a result, report progress (I8)."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from mlflow.entities._job import JobProgress
from mlflow.entities._job_status import JobStatus
from mlflow.server.handlers import _get_job_store
from mlflow.server.job_api import JobRoute
from mlflow.server.jobs.errors import InvalidSubmission
from mlflow.server.jobs.executor import JobResult
from mlflow.server.jobs.outcome import RetryPolicy
from mlflow.server.jobs.remote.judge import TokenNotAccepted
from mlflow.server.jobs.remote.reports import report_result
from mlflow.server.jobs.settings import JobSettings
from mlflow.server.jobs.subprocess_protocol import UnusableResult, check_result
from mlflow.server.jobs.validation import validate_json_object, validate_text
from mlflow.store.jobs.values import JobUpdateStatus, TokenJob

job_report_router = APIRouter(tags=["Job"], route_class=JobRoute)

_PREFIXES = ("/api/3.0/jobs", "/ajax-api/3.0/jobs")

Count = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Label = Annotated[str, Field(max_length=500)]


class _Report(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ResultReport(_Report):
    """How a job ended: `JobResult` as JSON. `result` is a JSON text."""

    status: Literal["SUCCEEDED", "FAILED", "TIMEOUT"]
    result: str | None = None
    error_message: str | None = None
    is_transient_error: bool = False

    def to_job_result(self) -> JobResult:
        """The same as a value.

        Raises:
            InvalidSubmission: Fields that do not go together, or a result that is not JSON.
        """
        status = JobStatus.from_str(self.status)
        succeeded = status is JobStatus.SUCCEEDED
        if self.result is not None:
            if not succeeded:
                raise InvalidSubmission("result", f"goes with SUCCEEDED, not with {self.status}")
            try:
                check_result(self.result)
            except UnusableResult as e:
                raise InvalidSubmission("result", str(e)) from e
        if succeeded and self.error_message is not None:
            raise InvalidSubmission("error_message", "does not go with SUCCEEDED")
        if self.is_transient_error and status is not JobStatus.FAILED:
            raise InvalidSubmission("is_transient_error", f"does not go with {self.status}")
        return JobResult(status, self.result, self.error_message, self.is_transient_error)


class ProgressReport(_Report):
    """How far a job is."""

    phase: Label | None = None
    completed: Count | None = None
    total: Count | None = None
    unit: Label | None = None


class StatusReport(_Report):
    """What a job says of itself; what is left out stays as it is, details are merged."""

    message: str | None = None
    progress: ProgressReport | None = None
    status_details: dict[str, Any] | None = None


class ReportTaken(BaseModel):
    """The answer: the job as it is now."""

    job_id: str
    status: JobStatus | None


def report_job_result(job_id: str, report: ResultReport, request: Request) -> ReportTaken:
    job = _holder(request)
    settings = JobSettings.from_env()
    policy = RetryPolicy(settings.max_retries, settings.retry_base_delay, settings.retry_max_delay)
    store = _get_job_store()
    report_result(store, job, report.to_job_result(), policy)
    now = store.job_of_token(job.holder)
    return ReportTaken(job_id=job_id, status=now and now.status)


def report_job_progress(job_id: str, report: StatusReport, request: Request) -> ReportTaken:
    job = _holder(request)
    if not report.model_fields_set:
        raise InvalidSubmission("body", "needs at least one of message, progress, status_details")
    progress = report.progress and JobProgress(**report.progress.model_dump())
    details = report.status_details
    if details is not None:
        validate_json_object("status_details", details)
    if progress is not None:
        validate_text("progress.phase", progress.phase)
        validate_text("progress.unit", progress.unit)
    status = _get_job_store().report_progress(job.holder, report.message, progress, details)
    if status is not JobUpdateStatus.APPLIED:
        raise TokenNotAccepted("the claim that it was made for has ended")
    return ReportTaken(job_id=job_id, status=job.status)


for _prefix in _PREFIXES:
    job_report_router.post(_prefix + "/{job_id}/result", response_model=ReportTaken)(
        report_job_result
    )
    job_report_router.post(_prefix + "/{job_id}/progress", response_model=ReportTaken)(
        report_job_progress
    )


def _holder(request: Request) -> TokenJob:
    """The job whose token opened this request; users do not report for jobs."""
    job = getattr(request.state, "job_of_token", None)
    if job is None:
        raise TokenNotAccepted("none was shown")
    return job
