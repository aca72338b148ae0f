"""Submit an ended job again: the same function and params, through the checks of any submission."""

import json
import logging
from typing import Any

from mlflow.entities._job import Job
from mlflow.entities._job_status import JobStatus
from mlflow.server.jobs.errors import InvalidSubmission
from mlflow.server.jobs.functions import get_job_function
from mlflow.server.jobs.shown_status import shown_status
from mlflow.server.jobs.submission import get_job, submit_job
from mlflow.store.jobs.errors import InvalidJobTransition

_logger = logging.getLogger(__name__)


def resubmit_job(job_id: str) -> Job:
    """A new job that does what an ended one was to do. The ended one stays as it is.

    It belongs to the creator of the first, with whose rights it reaches the gateway; backend,
    exclusivity and limits are those of a submission now.

    Returns:
        The new job, PENDING.

    Raises:
        JobNotFound: There is no such job, or none in this workspace.
        InvalidJobTransition: It has not ended.
        MlflowException: As `submit_job`; also where the job had environment variables of its own,
            which were erased when it ended.
    """
    ended = get_job(job_id)
    if not JobStatus.is_finalized(ended.status):
        raise InvalidJobTransition(job_id, str(shown_status(ended.status)), "resubmit")
    if ended.had_extra_envs:
        raise InvalidSubmission(
            "extra_envs",
            f"were given to job {job_id} and erased when it ended; submit it anew, with them",
        )
    again = submit_job(
        get_job_function(ended.job_name),
        _params_of(ended),
        timeout=ended.timeout,
        creator=ended.creator,
    )
    _logger.info("Job %s is submitted again as job %s", job_id, again.job_id)
    return again


def _params_of(job: Job) -> dict[str, Any]:
    try:
        params = json.loads(job.params)
    except (TypeError, ValueError, RecursionError):
        params = None
    if not isinstance(params, dict):
        raise InvalidSubmission("params", f"of job {job.job_id} cannot be read")
    return params
