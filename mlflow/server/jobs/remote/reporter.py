"""Report from a remote workload to its server, with the job token in every request.

MLflow's own client repeats what fails on the way, and adds the token's headers.
"""

import logging
from dataclasses import asdict
from typing import Any

from requests import Response

from mlflow.entities._job import JobProgress
from mlflow.exceptions import MlflowException
from mlflow.server.jobs.executor import JobResult
from mlflow.tracking._tracking_service.utils import get_tracking_uri
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

_logger = logging.getLogger(__name__)

_PROGRESS_TIMEOUT_SECONDS = 10


class Reporter:
    """Speaks for one job; stands in for `JobTracker` where the store is out of reach."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id

    def report(self, result: JobResult) -> bool:
        """Say how the job ended; whether the server took it.

        A result that the server cannot keep is reported as a failure that says so.
        """
        body = {**asdict(result), "status": str(result.status)}
        try:
            response = self._post("result", body)
            if response.status_code in (400, 422) and result.result is not None:
                problem = f"The job's result cannot be stored: {_message(response)}"
                body |= {"status": "FAILED", "result": None, "error_message": problem}
                response = self._post("result", body)
        except MlflowException as e:
            _logger.error("The end of job %s could not be reported: %s", self.job_id, e.message)
            return False
        if response.status_code == 200:
            return True
        _logger.error(
            "The report of job %s was refused (%d): %s",
            self.job_id,
            response.status_code,
            _message(response),
        )
        return False

    def update(self, status_details: dict[str, Any]) -> None:
        """Merge these keys into the job's status details; best effort."""
        self._report_progress({"status_details": status_details})

    def update_job_progress(
        self, message: str | None = None, progress: JobProgress | None = None
    ) -> None:
        """Set the status message or the progress; best effort."""
        body = {"message": message, "progress": progress and progress.to_dict()}
        self._report_progress({name: value for name, value in body.items() if value is not None})

    def _report_progress(self, body: dict[str, Any]) -> None:
        if not body:
            return
        try:
            response = self._post(
                "progress", body, max_retries=0, timeout=_PROGRESS_TIMEOUT_SECONDS
            )
        except MlflowException as e:
            _logger.warning("Job %s could not report its progress: %s", self.job_id, e.message)
            return
        if response.status_code != 200:
            _logger.warning(
                "The progress of job %s was refused (%d): %s",
                self.job_id,
                response.status_code,
                _message(response),
            )

    def _post(self, what: str, body: dict[str, Any], **options: Any) -> Response:
        return http_request(
            get_default_host_creds(get_tracking_uri()),
            f"/api/3.0/jobs/{self.job_id}/{what}",
            "POST",
            json=body,
            raise_on_status=False,
            **options,
        )


def _message(response: Response) -> str:
    try:
        answer = response.json()
    except ValueError:
        return response.text[:500]
    return str(answer.get("message") or answer.get("detail") or answer)[:500]
