"""How each of MLflow's job functions is asked for, and what its job came to."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.adoption.job_material import ENDPOINT
from tests.adoption.job_places import Place
from tests.adoption.servers import wait_for

Submission = Callable[[Place], dict[str, Any]]

_MODEL = f"gateway:/{ENDPOINT}"


def invoke_scorer(place: Place) -> dict[str, Any]:
    body = {
        "experiment_id": place.made["experiment"],
        "serialized_scorer": place.judge("invoked"),
        "trace_ids": place.made["traces"],
        "log_assessments": True,
    }
    (job,) = place.caller.ask("POST", "/ajax-api/3.0/mlflow/scorer/invoke", body)["jobs"]
    return job


def invoke_genai_evaluate(place: Place) -> dict[str, Any]:
    body = {
        "experiment_id": place.made["experiment"],
        "trace_ids": place.made["traces"],
        "serialized_scorers": [place.judge("evaluated")],
    }
    return place.caller.ask("POST", "/ajax-api/3.0/mlflow/genai/evaluate/invoke", body)


def invoke_issue_detection(place: Place) -> dict[str, Any]:
    return detect(place, {"endpoint_name": ENDPOINT})


def detect(place: Place, model: Mapping[str, str]) -> dict[str, Any]:
    body = {
        "experiment_id": place.made["experiment"],
        "trace_ids": place.made["traces"],
        "categories": ["correctness"],
        "provider": "openai",
        **model,
    }
    return place.caller.ask("POST", "/ajax-api/3.0/mlflow/issues/invoke", body)


def scheduled_issue_detection(place: Place, experiment: str = "watched") -> dict[str, Any]:
    params = {
        "experiment_id": place.made[experiment],
        "window_lower_bound_ms": 0,
        "window_upper_bound_ms": int(time.time() * 1000),
        "categories": ["correctness"],
        "model": _MODEL,
    }
    return {"job_id": place.admin.submit("scheduled_issue_detection", params)}


def optimize_prompts(place: Place) -> dict[str, Any]:
    body = {
        "experiment_id": place.made["experiment"],
        "source_prompt_uri": place.made["prompt"],
        "config": {
            "optimizer_type": "OPTIMIZER_TYPE_METAPROMPT",
            "optimizer_config_json": json.dumps({"reflection_model": _MODEL}),
        },
    }
    return place.caller.ask("POST", "/ajax-api/3.0/mlflow/prompt-optimization/jobs", body)["job"]


def run_online_trace_scorer(place: Place) -> dict[str, Any]:
    params = _online_params(place, place.judge("traced"))
    return {"job_id": place.admin.submit("run_online_trace_scorer", params)}


def run_online_session_scorer(place: Place) -> dict[str, Any]:
    params = _online_params(place, place.judge("chatted", "session_judge"))
    return {"job_id": place.admin.submit("run_online_session_scorer", params)}


def _online_params(place: Place, judge: str) -> dict[str, Any]:
    experiment = place.made["experiment"]
    config = {
        "online_scoring_config_id": "c",
        "scorer_id": "s",
        "sample_rate": 1.0,
        "experiment_id": experiment,
    }
    name = json.loads(judge)["name"]
    scorer = {"name": name, "serialized_scorer": judge, "online_config": config}
    return {"experiment_id": experiment, "online_scorers": [scorer]}


# By job name; each returns the answer of the server.
SUBMISSIONS: dict[str, Submission] = {
    "invoke_scorer": invoke_scorer,
    "invoke_genai_evaluate": invoke_genai_evaluate,
    "invoke_issue_detection": invoke_issue_detection,
    "scheduled_issue_detection": scheduled_issue_detection,
    "optimize_prompts": optimize_prompts,
    "run_online_trace_scorer": run_online_trace_scorer,
    "run_online_session_scorer": run_online_session_scorer,
}


def result_of(place: Place, answer: Mapping[str, str]) -> Any:
    """Waits for the job of a submission's answer, and returns its result if it succeeded."""
    job = place.admin.ended_job(answer["job_id"])
    assert job["status"] == "SUCCEEDED", job
    return job["result"]


def watch_progress(
    place: Place, submit: Submission, answers: int, told: tuple[str, int, int, str]
) -> None:
    """Keeps a job in its middle until it tells how far it is, and then lets it succeed.

    Args:
        place: Where nothing else asks the model.
        submit: Submits the job.
        answers: How often the model answers before it falls silent.
        told: Phase, completed, total and unit that are waited for.
    """
    expected = dict(zip(("phase", "completed", "total", "unit"), told, strict=True))
    with place.stub.silence.after(answers):
        job_id = submit(place)["job_id"]
        wait_for(lambda: place.caller.job(job_id)["progress"] == expected, f"{expected}", 90)
        assert place.caller.job(job_id)["status"] == "RUNNING"
    # Like a lease it is the running job's, and gone with its end.
    ended = place.caller.ended_job(job_id)
    assert (ended["status"], ended["progress"]) == ("SUCCEEDED", None)
