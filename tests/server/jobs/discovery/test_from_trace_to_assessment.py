"""What discovery puts into a job is what the job function takes, up to the moved checkpoint."""

import json
import time

import mlflow
from mlflow.genai import scorer
from mlflow.genai.scorers.job import ONLINE_TRACE_SCORER_JOB_NAME, run_online_trace_scorer_job
from mlflow.server.jobs.discovery.online_scoring import OnlineScoringDiscovery
from mlflow.server.jobs.settings import JobSettings
from mlflow.store.jobs.values import CheckpointMove

TAG = "mlflow.latestOnlineScoring.trace.checkpoint"


@scorer
def length(outputs) -> int:
    return len(outputs)


class LocalOnly:
    def route(self, job_name, params):
        return "local"


def test_a_waiting_trace_gets_its_assessment_and_is_never_scored_again(
    tracked, tracking_store, job_store, experiment_id
):
    tracking_store.register_scorer(experiment_id, "length", json.dumps(length.model_dump()))
    tracking_store.upsert_online_scoring_config(experiment_id, "length", 1.0)
    start_ns = time.time_ns() - 60 * 10**9
    span = mlflow.start_span_no_context(
        "answer", experiment_id=experiment_id, start_time_ns=start_ns
    )
    span.set_outputs("hello")
    span.end(end_time_ns=start_ns + 10**6)
    term = job_store.acquire_scheduler_lease("scheduler", "me", ttl_seconds=600)
    discovery = OnlineScoringDiscovery(
        tracking_store, job_store, JobSettings(), LocalOnly(), trace_buffer_seconds=0
    )

    discovery.run(term)
    capacity = {ONLINE_TRACE_SCORER_JOB_NAME: 1}
    (job,) = job_store.claim_batch("me", ["local"], capacity, 60, lambda *_: None).claimed
    result = run_online_trace_scorer_job(**job.params)
    job_store.succeed(
        job.claim, json.dumps(result), CheckpointMove(**job.params["next_checkpoint"])
    )
    discovery.run(term)

    assert result == {"traces_scored": 1, "assessments": 1, "failures": 0}
    (trace,) = tracking_store.batch_get_traces([span.trace_id])
    assert [(made.name, made.value) for made in trace.info.assessments] == [("length", 5)]
    checkpoint = json.loads(tracking_store.get_experiment(experiment_id).tags[TAG])
    assert checkpoint["timestamp_ms"] > start_ns // 10**6
    assert len(list(job_store.list_jobs())) == 1
