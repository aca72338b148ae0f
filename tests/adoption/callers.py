"""Somebody who talks to a server over HTTP, with credentials or without."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import requests

from dev.serving import Server, ServerFailed

_POLL_SECONDS = 0.1
_UNFINISHED = ("PENDING", "RUNNING")


@dataclass(frozen=True)
class Caller:
    """One user of one server.

    Attributes:
        server: Whom the caller talks to.
        credentials: Name and password; None sends neither.
        workspace: Where the caller works; None leaves it to the server.
    """

    server: Server
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    workspace: str | None = None

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Sends JSON and returns (status, parsed answer or its text)."""
        response = requests.request(
            method,
            self.server.address + path,
            json=body,
            auth=self.credentials,
            headers={"X-MLFLOW-WORKSPACE": self.workspace} if self.workspace else None,
            timeout=60,
        )
        try:
            return response.status_code, response.json()
        except ValueError:
            return response.status_code, response.text

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Sends JSON and returns the parsed answer.

        Raises:
            ServerFailed: The server refused.
        """
        status, answer = self.request(method, path, body)
        if status not in (200, 201):
            raise ServerFailed(f"{method} {path} was answered with {status}: {answer}")
        return answer

    def submit(self, job_name: str, params: dict[str, Any]) -> str:
        """Submits a job by its name and returns its id."""
        body = {"job_name": job_name, "params": params}
        return self.ask("POST", "/ajax-api/3.0/jobs/", body)["job_id"]

    def job(self, job_id: str) -> dict[str, Any]:
        """Returns a job as it is now."""
        return self.ask("GET", f"/ajax-api/3.0/jobs/{job_id}")

    def ended_job(self, job_id: str, timeout_seconds: float = 180.0) -> dict[str, Any]:
        """Polls a job until its state is terminal, and returns it."""
        deadline = time.monotonic() + timeout_seconds
        while (job := self.job(job_id))["status"] in _UNFINISHED:
            self.server.require_alive()
            if time.monotonic() > deadline:
                raise ServerFailed(f"Job {job_id} is still {job['status']}.\n{self.server.tail()}")
            time.sleep(_POLL_SECONDS)
        return job

    def run(self, run_id: str) -> dict[str, Any]:
        """Returns a run."""
        return self.ask("GET", f"/api/2.0/mlflow/runs/get?run_id={run_id}")["run"]

    def experiment_tag(self, experiment_id: str, key: str) -> str | None:
        """Returns a tag of an experiment."""
        path = f"/api/2.0/mlflow/experiments/get?experiment_id={experiment_id}"
        tags = self.ask("GET", path)["experiment"].get("tags", [])
        return {tag["key"]: tag["value"] for tag in tags}.get(key)

    def traces(self, experiment_id: str) -> list[dict[str, Any]]:
        """Returns the trace infos of an experiment, their assessments included."""
        place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment_id}}
        body = {"locations": [place], "max_results": 500}
        return self.ask("POST", "/api/3.0/mlflow/traces/search", body).get("traces", [])

    def feedback(self, experiment_id: str, name: str) -> Counter[tuple[str, Any]]:
        """Counts (trace id, value) of the feedback of this name in an experiment."""
        return Counter(
            (trace["trace_id"], assessment.get("feedback", {}).get("value"))
            for trace in self.traces(experiment_id)
            for assessment in trace.get("assessments", [])
            if assessment["assessment_name"] == name
        )
