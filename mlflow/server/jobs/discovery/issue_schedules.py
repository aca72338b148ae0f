"""Submit the issue detections that have come due, as MLflow does, but as leader. Keeps I6 and I7.

MLflow writes down the occurrence that it claims, in a tag of the experiment, then it submits a job.
Here both name the term, so that a leader that was paused past it does neither: it would take back
what its successor has claimed since, and run an occurrence again. What is due is told by the
database's clock.
"""

import json

from mlflow.entities import ExperimentTag
from mlflow.genai.discovery.schedule_claims import written_by
from mlflow.genai.discovery.scheduler import run_issue_detection_scheduler
from mlflow.server.jobs.errors import JobError
from mlflow.server.jobs.submitting_term import submitting_under
from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.values import CheckpointMove, Term
from mlflow.store.tracking.abstract_store import AbstractStore


def submit_due_detections(job_store: AbstractJobStore, term: Term) -> None:
    """Pass over the schedules of all workspaces once.

    Raises:
        LeadershipLost: The term has ended. What was submitted before stays.
    """

    def claim(store: AbstractStore, experiment_id: str, tag: ExperimentTag) -> None:
        stored = store.get_experiment(experiment_id).tags.get(tag.key)
        state = CheckpointMove(experiment_id, tag.key, json.loads(tag.value))
        if not job_store.begin_checkpoint(state, term, instead_of=stored):
            raise JobError(f"The schedule of experiment {experiment_id} was changed just now.")

    with submitting_under(term), written_by(claim):
        run_issue_detection_scheduler(job_store.now_ms())
