"""What the demo reads back over HTTP: jobs, assessments on traces, the checkpoint."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import mlflow
from dev.serving import Server

TRACE_JOB = "run_online_trace_scorer"
_CHECKPOINT_TAG = "mlflow.latestOnlineScoring.trace.checkpoint"


@dataclass(frozen=True)
class Observed:
    """One look at the server.

    Attributes:
        jobs: The trace scoring jobs of the experiment, oldest first, as the jobs API gives them.
        traces: How many traces the experiment has.
        values: Values of the scorer's assessments -> how often each was given.
        scored: How many traces carry exactly one assessment of the scorer.
        checkpoint: Where discovery resumes, or None.
    """

    jobs: list[dict[str, Any]]
    traces: int
    values: Counter[str]
    scored: int
    checkpoint: dict[str, Any] | None

    @property
    def complete(self) -> bool:
        """Every trace has its one assessment, its job has ended well, the checkpoint is there."""
        return (
            self.traces == self.scored
            and self.checkpoint is not None
            and any(job["status"] == "SUCCEEDED" for job in self.jobs)
            and all(job["status"] in ("SUCCEEDED", "CANCELED") for job in self.jobs)
        )

    @property
    def failure(self) -> str | None:
        """Why a scoring job failed, or None."""
        for job in self.jobs:
            if job["status"] in ("FAILED", "TIMEOUT"):
                return f"Job {job['job_id']} is {job['status']}: {job['error_message']}"
        return None


def observe(server: Server, experiment_id: str, scorer_name: str) -> Observed:
    """Reads the present state; only HTTP is used."""
    status, found = server.request("POST", "/ajax-api/3.0/jobs/search", {"job_name": TRACE_JOB})
    if status != 200:
        raise RuntimeError(f"Searching jobs was answered with {status}: {found}")
    per_trace = [
        [a for a in trace.info.assessments if a.name == scorer_name]
        for trace in mlflow.search_traces(
            locations=[experiment_id], max_results=1000, return_type="list", include_spans=False
        )
    ]
    tag = mlflow.get_experiment(experiment_id).tags.get(_CHECKPOINT_TAG)
    return Observed(
        jobs=[job for job in found["jobs"] if job["params"].get("experiment_id") == experiment_id],
        traces=len(per_trace),
        values=Counter(str(a.value) for assessments in per_trace for a in assessments),
        scored=sum(len(assessments) == 1 for assessments in per_trace),
        checkpoint=json.loads(tag) if tag else None,
    )
