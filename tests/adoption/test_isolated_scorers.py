"""A scorer in a process of its own has what its job has: login, workspace, store, and its end."""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from mlflow.genai import make_scorer_ensemble, scorer
from mlflow.genai.scorers.base import Scorer
from tests.adoption import job_places
from tests.adoption.job_places import Place
from tests.adoption.job_submissions import result_of
from tests.adoption.servers import wait_for

pytestmark = pytest.mark.servers


@scorer
def fatal(outputs) -> int:
    import os
    import signal

    if "It is 0" in outputs["answer"]:
        os.kill(os.getpid(), signal.SIGSEGV)
    return 1


@scorer
def surroundings(trace) -> str:
    import os

    import mlflow

    assert mlflow.get_trace(trace.info.trace_id).info.trace_id == trace.info.trace_id
    return os.environ["MLFLOW_WORKSPACE"]


@scorer
def silent(outputs) -> int:
    import signal

    signal.pause()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Place]:
    with job_places.workspace_place(tmp_path_factory.mktemp("isolated")) as place:
        yield place


def test_isolated_scorers_are_somebody_to_the_gateway_and_see_the_jobs_store(place):
    judges = [Scorer.model_validate_json(place.judge(name)) for name in ("ann", "bob")]
    panel = make_scorer_ensemble(name="panel", scorers=judges, ensemble_fn="majority_vote")
    experiment = place.made["experiment"]

    job_id = _score_isolated(place, [panel, fatal, surroundings])

    result = result_of(place, {"job_id": job_id})
    assert result == {"traces_scored": 3, "assessments": 8, "failures": 1}
    assert place.caller.feedback(experiment, "panel") == place.one_yes_for_each_trace()
    of_workspace = Counter((trace, "team") for trace in place.made["traces"])
    assert place.caller.feedback(experiment, "surroundings") == of_workspace


def test_no_process_of_a_scorer_outlives_its_job_or_its_runner(place):
    job_id = _score_isolated(place, [silent])
    wait_for(lambda: _of_scorers(place), "a scorer's process")
    place.admin.ask("PATCH", f"/ajax-api/3.0/jobs/cancel/{job_id}")
    wait_for(lambda: not _of_scorers(place), "its end with its job")

    # Of another experiment: nothing keeps its job from being claimed.
    body = {"name": "another"}
    made = place.caller.ask("POST", "/api/2.0/mlflow/experiments/create", body)
    job_id = _score_isolated(place, [silent], made["experiment_id"])
    wait_for(lambda: _of_scorers(place), "a scorer's process")
    os.kill(place.runner(), signal.SIGKILL)
    wait_for(lambda: not _of_scorers(place), "its end with its runner")
    place.admin.ask("PATCH", f"/ajax-api/3.0/jobs/cancel/{job_id}")


def _score_isolated(place: Place, scorers: list[Scorer], experiment: str | None = None) -> str:
    experiment = experiment or place.made["experiment"]
    config = {
        "online_scoring_config_id": "c",
        "scorer_id": "s",
        "sample_rate": 1.0,
        "experiment_id": experiment,
    }
    names = [each.name for each in scorers]
    params = {
        "experiment_id": experiment,
        "online_scorers": [
            {
                "name": each.name,
                "serialized_scorer": json.dumps(each.model_dump()),
                "online_config": config,
            }
            for each in scorers
        ],
        "batch": [{"trace_id": trace, "scorers": names} for trace in place.made["traces"]],
        "isolate": True,
    }
    return place.admin.submit("run_online_trace_scorer", params)


def _of_scorers(place: Place) -> list[int]:
    processes = place.caller.server.processes().items()
    entry = "mlflow.genai.scorers.online._scorer_process_entry"
    return [pid for pid, command in processes if entry in command]
