"""Judges that are switched on, discovery on real stores, and what it has created."""

import json

from mlflow.exceptions import MlflowException
from mlflow.genai.judges import make_judge
from mlflow.genai.scorers.job import ONLINE_TRACE_SCORER_JOB_NAME
from mlflow.server.jobs.discovery.online_scoring import OnlineScoringDiscovery
from mlflow.server.jobs.settings import JobSettings
from mlflow.store.jobs.values import CheckpointMove

BUFFER_MS = 300_000
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
TAG = "mlflow.latestOnlineScoring.trace.checkpoint"
SESSION = {"mlflow.trace.session": "s1"}
JUDGES = {
    "trace": "Is {{ outputs }} polite?",
    "session": "Did the {{ conversation }} end well?",
}


class LocalOnly:
    """A router with one backend, which refuses the experiments it is told to."""

    def __init__(self, refused=(), error=None):
        self.refused = refused
        self.error = error or MlflowException("no backend")
        self.asked = []

    def route(self, job_name, params):
        self.asked.append(job_name)
        if params["experiment_id"] in self.refused:
            raise self.error
        return "local"


def schedule_judge(store, experiment_id, name, rate, filter_string, level):
    judge = make_judge(name=name, instructions=JUDGES[level], model="gateway:/endpoint")
    store.register_scorer(experiment_id, name, json.dumps(judge.model_dump()))
    return store.upsert_online_scoring_config(experiment_id, name, rate, filter_string)


def make_discovery(tracking_store, job_store, router=None, **options):
    buffer = BUFFER_MS / 1000
    options = {"trace_buffer_seconds": buffer, "session_buffer_seconds": buffer, **options}
    return OnlineScoringDiscovery(
        tracking_store, job_store, JobSettings(), router or LocalOnly(), **options
    )


def created(job_store, job_name=ONLINE_TRACE_SCORER_JOB_NAME):
    return list(job_store.list_jobs(job_name=job_name))


def params_of(job_store, job_name=ONLINE_TRACE_SCORER_JOB_NAME):
    return [json.loads(job.params) for job in created(job_store, job_name)]


def only_params(job_store, job_name=ONLINE_TRACE_SCORER_JOB_NAME):
    (params,) = params_of(job_store, job_name)
    return params


def batch_ids(params):
    return [entry["trace_id"] for entry in params["batch"]]


def finish(job_store, job_name=ONLINE_TRACE_SCORER_JOB_NAME):
    """Let one PENDING job run and succeed."""
    capacity = {job_name: 1}
    harvest = job_store.claim_batch("r", ["local"], capacity, 60, lambda *_: None)
    (job,) = harvest.claimed
    job_store.succeed(job.claim, "null", CheckpointMove(**job.params["next_checkpoint"]))
    return job.params
