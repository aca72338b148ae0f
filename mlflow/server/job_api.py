"""The jobs' HTTP interface: submit, get, search and cancel."""

import json
import math
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as StarletteHTTPException

from mlflow.entities._job import Job as JobEntity
from mlflow.entities._job import JobProgress
from mlflow.entities._job_status import JobStatus
from mlflow.exceptions import MlflowException
from mlflow.server import jobs
from mlflow.server.handlers import _get_job_store
from mlflow.server.jobs.functions import get_job_function
from mlflow.server.jobs.shown_status import shown_status, statuses_shown_as
from mlflow.server.jobs.validation import validate_json_object, validate_text

# A search that asks for no page gets one page of this many jobs, which held all of them for every
# caller that knows nothing of pages.
DEFAULT_MAX_RESULTS = 10_000

_STORE_PAGE = 1_000
_MAX_SHOWN_DEPTH = 200

_UNREADABLE = "cannot be read as JSON, or is nested too deep, or holds too long a number"
_NOT_AN_OBJECT = "must be a JSON object, sent with content type application/json"


class JobRoute(APIRoute):
    """Answers every refusal with its status and a message that any client can read."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except MlflowException as e:
                raise HTTPException(e.get_http_status_code(), _readable(e.message)) from e
            except RequestValidationError as e:
                # Not FastAPI's own answer: it repeats the input, of which JSON may hold no word.
                raise HTTPException(422, [_problem(error) for error in e.errors()]) from e
            except StarletteHTTPException as e:
                if isinstance(e.__cause__, (RecursionError, ValueError)):
                    raise HTTPException(400, f"body: {_UNREADABLE}") from e
                raise

        return answer


job_api_router = APIRouter(prefix="/ajax-api/3.0/jobs", tags=["Job"], route_class=JobRoute)


class JobProgressResponse(BaseModel):
    """How far a job says that it is."""

    phase: str | None = None
    completed: int | None = None
    total: int | None = None
    unit: str | None = None

    @classmethod
    def from_job_progress(cls, progress: JobProgress) -> "JobProgressResponse":
        return cls(**{name: getattr(progress, name) for name in cls.model_fields})


class Job(BaseModel):
    """A job as clients see it. Times are epoch milliseconds, `timeout` is in seconds."""

    job_id: str
    creation_time: int
    job_name: str
    params: dict[str, Any]
    timeout: float | None
    status: JobStatus
    result: Any
    error_message: str | None = None
    retry_count: int
    last_update_time: int
    status_details: dict[str, Any] | None = None
    creator: str | None = None
    status_message: str | None = None
    progress: JobProgressResponse | None = None
    progress_updated_at: int | None = None

    @classmethod
    def from_job_entity(cls, job: JobEntity) -> "Job":
        params = _read_json(job.params)
        progress = job.progress
        return cls(
            job_id=job.job_id,
            creation_time=job.creation_time,
            job_name=job.job_name,
            params=params if isinstance(params, dict) else {},
            timeout=_presentable(job.timeout),
            status=shown_status(job.status),
            result=_shown_result(job),
            error_message=_presentable(job.error_message),
            retry_count=job.retry_count,
            last_update_time=job.last_update_time,
            status_details=_presentable(job.status_details),
            creator=job.creator,
            status_message=_presentable(job.status_message),
            progress=progress and JobProgressResponse.from_job_progress(progress),
            progress_updated_at=job.progress_updated_at,
        )


# What a bigint column can be compared with.
Timestamp = Annotated[int, Field(ge=0, lt=2**63)]


class SubmitJobPayload(BaseModel):
    """A submission. `timeout` is in seconds."""

    job_name: str
    params: dict[str, Any]
    timeout: Annotated[float, Field(strict=True)] | None = None


class SearchJobPayload(BaseModel):
    """What to search for; a field left out matches every job.

    `params` matches jobs that have at least these parameters. The timestamps are epoch
    milliseconds of creation, both included.
    """

    job_name: str | None = None
    params: dict[str, Any] | None = None
    statuses: list[JobStatus] | None = None
    creator: str | None = None
    begin_timestamp: Timestamp | None = None
    end_timestamp: Timestamp | None = None
    max_results: Annotated[int, Field(ge=1, le=DEFAULT_MAX_RESULTS)] | None = None
    page_token: str | None = None


class SearchJobsResponse(BaseModel):
    """One page, oldest first. A token is there as long as more may follow."""

    jobs: list[Job]
    next_page_token: str | None = None


@job_api_router.get("/{job_id}", response_model=Job)
def get_job(job_id: str) -> Job:
    return Job.from_job_entity(jobs.get_job(job_id))


@job_api_router.post("", response_model=Job)
@job_api_router.post("/", response_model=Job)
def submit_job(payload: SubmitJobPayload, request: Request) -> Job:
    function = get_job_function(validate_text("job_name", payload.job_name))
    job = jobs.submit_job(
        function,
        payload.params,
        timeout=payload.timeout,
        # Set by the auth app. Flask's request context, where other submissions find their
        # creator, does not reach here.
        creator=getattr(request.state, "username", None),
    )
    return Job.from_job_entity(job)


@job_api_router.patch("/cancel/{job_id}", response_model=Job)
def cancel_job(job_id: str) -> Job:
    return Job.from_job_entity(jobs.cancel_job(job_id))


# The auth app finds its filter of the answer by this very function.
@job_api_router.post("/search", response_model=SearchJobsResponse)
def search_jobs(payload: SearchJobPayload) -> SearchJobsResponse:
    store = _get_job_store()
    wanted = payload.max_results or DEFAULT_MAX_RESULTS
    criteria = {
        "job_name": validate_text("job_name", payload.job_name),
        "statuses": _rows_to_find(payload.statuses),
        "creator": validate_text("creator", payload.creator),
        "begin": payload.begin_timestamp,
        "end": payload.end_timestamp,
        "params": payload.params and validate_json_object("params", payload.params),
    }
    found: list[JobEntity] = []
    token = validate_text("page_token", payload.page_token)
    while True:
        page, token = store.search_jobs(
            **criteria, max_results=min(wanted - len(found), _STORE_PAGE), page_token=token
        )
        found += page
        if token is None or len(found) >= wanted:
            return SearchJobsResponse(
                jobs=[Job.from_job_entity(job) for job in found], next_page_token=token
            )


def _rows_to_find(statuses: list[JobStatus] | None) -> list[JobStatus] | None:
    if not statuses:
        # An empty list has always meant any status.
        return None
    return list({row for status in statuses for row in statuses_shown_as(status)})


def _shown_result(job: JobEntity) -> Any:
    if job.status is JobStatus.SUCCEEDED and job.result is not None:
        return _read_json(job.result)
    return _presentable(job.result)


def _read_json(text: str) -> Any:
    try:
        return _presentable(json.loads(text))
    except (ValueError, RecursionError):
        # A row that another release wrote may hold anything; it is shown as it is.
        return _presentable(text)


def _presentable(value: Any, depth: int = 0) -> Any:
    """`value` with what JSON and UTF-8 cannot carry replaced."""
    if isinstance(value, str):
        return _readable(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth == _MAX_SHOWN_DEPTH:
        return None
    if isinstance(value, dict):
        return {_readable(key): _presentable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_presentable(item, depth + 1) for item in value]
    return value


def _problem(error: dict[str, Any]) -> dict[str, Any]:
    location = [_readable(part) if isinstance(part, str) else part for part in error["loc"]]
    message = _NOT_AN_OBJECT if location == ["body"] else _readable(error["msg"])
    return {"type": error["type"], "loc": location, "msg": message}


def _readable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
