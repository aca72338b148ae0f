"""What a job function calls to report how far it is. Keeps I1: a lost claim reports nothing.

Outside a job these calls do nothing. Inside one they are best effort: a report that comes too late,
or that the database does not take, never fails the job.
"""

import logging
from typing import Any

from mlflow.entities._job import JobProgress
from mlflow.server import handlers
from mlflow.store.jobs.errors import (
    JobNotFound,
    JobStoreUnavailable,
    JobTerminalStateUpdateException,
)

_logger = logging.getLogger(__name__)


def update_status_details(status_details: dict[str, Any]) -> None:
    """Merge these keys into the status details of the job that is running here."""
    _get_job_tracker().update(status_details)


def update_job_progress(message: str | None = None, progress: JobProgress | None = None) -> None:
    """Set the status message or the progress of the job that is running here.

    Args:
        message: A sentence for the user; None leaves it as it is.
        progress: How much of the work is done; None leaves it as it is.
    """
    _get_job_tracker().update_job_progress(message=message, progress=progress)


class JobTracker:
    """Writes the progress of one claim of one job to the job store."""

    def __init__(self, job_id: str, fence: int | None = None) -> None:
        """
        Args:
            job_id: The job.
            fence: The fence of the claim; None leaves reports unguarded, as MLflow 3.18 does.
        """
        self.job_id = job_id
        self._guard = {} if fence is None else {"fence": fence}

    def update(self, status_details: dict[str, Any]) -> None:
        self._report("update_status_details", status_details)

    def update_job_progress(
        self, message: str | None = None, progress: JobProgress | None = None
    ) -> None:
        self._report("update_job_progress", message=message, progress=progress)

    def _report(self, verb: str, *values: Any, **fields: Any) -> None:
        store = handlers._get_job_store()
        try:
            getattr(store, verb)(self.job_id, *values, **fields, **self._guard)
        except (JobTerminalStateUpdateException, JobNotFound):
            pass
        except JobStoreUnavailable as error:
            _logger.warning("Job %s could not report its progress: %s", self.job_id, error)


class NoOpTracker:
    """Stands in where no job is running."""

    def update(self, status_details: dict[str, Any]) -> None:
        pass

    def update_job_progress(
        self, message: str | None = None, progress: JobProgress | None = None
    ) -> None:
        pass


_job_tracker: JobTracker | None = None


def _get_job_tracker() -> JobTracker | NoOpTracker:
    return _job_tracker or NoOpTracker()


def _set_job_tracker(tracker: JobTracker | None) -> None:
    global _job_tracker
    _job_tracker = tracker
