"""Each of MLflow's job functions runs through a real server, its model behind the gateway."""

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from importlib.util import find_spec
from typing import Any

import pytest

from dev.serving import Server
from tests.adoption import job_places
from tests.adoption.job_material import ENDPOINT, ROBOT, STRANGER, USER
from tests.adoption.job_places import ADMIN, MODEL_KEY, Place
from tests.adoption.servers import wait_for
from tests.pauses import pause_between_writes

pytestmark = pytest.mark.servers

_MODEL = f"gateway:/{ENDPOINT}"


@pytest.fixture(scope="module")
def open_place(tmp_path_factory) -> Iterator[Place]:
    with job_places.open_place(tmp_path_factory.mktemp("open")) as place:
        yield place


@pytest.fixture(scope="module")
def guarded_place(tmp_path_factory) -> Iterator[Place]:
    with job_places.guarded_place(tmp_path_factory.mktemp("guarded")) as place:
        yield place


@pytest.fixture(scope="module")
def workspace_place(tmp_path_factory) -> Iterator[Place]:
    with job_places.workspace_place(tmp_path_factory.mktemp("workspace")) as place:
        yield place


@pytest.fixture(scope="module", params=["open", "guarded", "workspace"])
def place(request) -> Place:
    return request.getfixturevalue(f"{request.param}_place")


@pytest.fixture(scope="module")
def submitted(place) -> dict[str, Any]:
    """Job function -> what its submission was answered with. All of them run side by side."""
    return {name: submit(place) for name, submit in _SUBMISSIONS.items()}


@pytest.fixture(scope="module")
def leaders_job(place) -> dict[str, Any]:
    """The job that the leader made of the traces of the watched experiment, when it has ended."""

    def found() -> list[dict[str, Any]]:
        body = {"job_name": "run_online_trace_scorer"}
        jobs = place.admin.ask("POST", "/ajax-api/3.0/jobs/search", body)["jobs"]
        return [job for job in jobs if job["params"]["experiment_id"] == place.made["watched"]]

    wait_for(found, "a job of the leader", timeout_seconds=90)
    return place.admin.ended_job(found()[0]["job_id"])


def _invoke_scorer(place: Place) -> dict[str, Any]:
    body = {
        "experiment_id": place.made["experiment"],
        "serialized_scorer": place.judge("invoked"),
        "trace_ids": place.made["traces"],
        "log_assessments": True,
    }
    (job,) = place.caller.ask("POST", "/ajax-api/3.0/mlflow/scorer/invoke", body)["jobs"]
    return job


def _invoke_genai_evaluate(place: Place) -> dict[str, Any]:
    body = {
        "experiment_id": place.made["experiment"],
        "trace_ids": place.made["traces"],
        "serialized_scorers": [place.judge("evaluated")],
    }
    return place.caller.ask("POST", "/ajax-api/3.0/mlflow/genai/evaluate/invoke", body)


def _invoke_issue_detection(place: Place) -> dict[str, Any]:
    return _detect(place, {"endpoint_name": ENDPOINT})


def _detect(place: Place, model: Mapping[str, str]) -> dict[str, Any]:
    body = {
        "experiment_id": place.made["experiment"],
        "trace_ids": place.made["traces"],
        "categories": ["correctness"],
        "provider": "openai",
        **model,
    }
    return place.caller.ask("POST", "/ajax-api/3.0/mlflow/issues/invoke", body)


def _scheduled_issue_detection(place: Place) -> dict[str, Any]:
    params = {
        "experiment_id": place.made["watched"],
        "window_lower_bound_ms": 0,
        "window_upper_bound_ms": int(time.time() * 1000),
        "categories": ["correctness"],
        "model": _MODEL,
    }
    return {"job_id": place.admin.submit("scheduled_issue_detection", params)}


def _optimize_prompts(place: Place) -> dict[str, Any]:
    body = {
        "experiment_id": place.made["experiment"],
        "source_prompt_uri": place.made["prompt"],
        "config": {
            "optimizer_type": "OPTIMIZER_TYPE_METAPROMPT",
            "optimizer_config_json": json.dumps({"reflection_model": _MODEL}),
        },
    }
    return place.caller.ask("POST", "/ajax-api/3.0/mlflow/prompt-optimization/jobs", body)["job"]


def _run_online_trace_scorer(place: Place) -> dict[str, Any]:
    params = _online_params(place, place.judge("traced"))
    return {"job_id": place.admin.submit("run_online_trace_scorer", params)}


def _run_online_session_scorer(place: Place) -> dict[str, Any]:
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


_SUBMISSIONS = {
    "invoke_scorer": _invoke_scorer,
    "invoke_genai_evaluate": _invoke_genai_evaluate,
    "invoke_issue_detection": _invoke_issue_detection,
    "scheduled_issue_detection": _scheduled_issue_detection,
    "optimize_prompts": _optimize_prompts,
    "run_online_trace_scorer": _run_online_trace_scorer,
    "run_online_session_scorer": _run_online_session_scorer,
}


def test_a_judge_that_is_run_on_traces_leaves_its_answers_there(place, submitted):
    result = _result(place, submitted["invoke_scorer"])
    assert sorted(result) == sorted(place.made["traces"])
    assert all(of_trace["failures"] == [] for of_trace in result.values())
    seen = place.caller.feedback(place.made["experiment"], "invoked")
    assert seen == place.one_yes_for_each_trace()


def test_an_evaluation_finishes_its_run_and_leaves_its_answers(place, submitted):
    answer = submitted["invoke_genai_evaluate"]
    run_id = answer["run_id"]
    assert _result(place, answer) == {"run_id": run_id, "total_traces": 3, "scorer_count": 1}
    assert place.caller.run(run_id)["info"]["status"] == "FINISHED"
    seen = place.caller.feedback(place.made["experiment"], "evaluated")
    assert seen == place.one_yes_for_each_trace()


def test_an_issue_detection_files_what_it_found_and_finishes_its_run(place, submitted):
    answer = submitted["invoke_issue_detection"]
    result = _result(place, answer)
    filed = _issues(place, place.made["experiment"], answer["run_id"])
    assert result["total_traces_analyzed"] == 3
    assert result["issues"] == len(filed) > 0
    assert place.caller.run(answer["run_id"])["info"]["status"] == "FINISHED"
    stage = place.caller.job(answer["job_id"])["status_details"]["stage"]
    assert stage == "Generating summary..."


def test_a_scheduled_issue_detection_covers_its_window_and_records_how_far(place, submitted):
    job_id, experiment = submitted["scheduled_issue_detection"]["job_id"], place.made["watched"]
    result = _result(place, {"job_id": job_id})
    assert result["traces_in_window"] == len(place.made["watched_traces"])
    assert result["issues"] == len(_issues(place, experiment, result["run_id"])) > 0
    run = place.caller.run(result["run_id"])
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert (run["info"]["status"], tags["mlflow.issueDetection.jobId"]) == ("FINISHED", job_id)
    covered = place.caller.experiment_tag(experiment, "mlflow.issueDetection.checkpoint")
    assert place.made["watched_traces"][-1] in covered


@pytest.mark.skipif(find_spec("litellm") is None, reason="prompt optimization needs litellm")
def test_a_prompt_optimization_registers_a_better_version(place, submitted):
    result = _result(place, submitted["optimize_prompts"])
    assert result["optimized_prompt_uri"] == "prompts:/greeting/2"
    path = "/api/2.0/mlflow/model-versions/get?name=greeting&version=2"
    version = place.caller.ask("GET", path)["model_version"]
    tags = {tag["key"]: tag["value"] for tag in version["tags"]}
    assert tags["mlflow.prompt.text"] == "Be brief. Greet {{name}}."
    assert place.caller.run(result["run_id"])["info"]["status"] == "FINISHED"


@pytest.mark.skipif(find_spec("litellm") is not None, reason="litellm is installed")
def test_a_prompt_optimization_says_that_litellm_is_missing(place, submitted):
    job = place.caller.ended_job(submitted["optimize_prompts"]["job_id"])
    assert job["status"] == "FAILED"
    assert "The 'litellm' package is required for prompt optimization" in job["error_message"]


def test_an_online_job_scores_each_trace_once(place, submitted):
    _result(place, submitted["run_online_trace_scorer"])
    seen = place.caller.feedback(place.made["experiment"], "traced")
    assert seen == place.one_yes_for_each_trace()


def test_an_online_job_scores_the_first_trace_of_each_session(place, submitted):
    _result(place, submitted["run_online_session_scorer"])
    seen = place.caller.feedback(place.made["experiment"], "chatted")
    assert seen == Counter({(place.made["traces"][0], "yes"): 1})


def test_the_leader_has_new_traces_scored_by_a_judge_behind_the_gateway(place, leaders_job):
    assert leaders_job["status"] == "SUCCEEDED", leaders_job
    assert leaders_job["creator"] is None
    assert leaders_job["params"]["batch"] == [
        {"trace_id": trace, "scorers": ["polite"]} for trace in place.made["watched_traces"]
    ]
    expected = Counter((trace, "yes") for trace in place.made["watched_traces"])
    assert place.caller.feedback(place.made["watched"], "polite") == expected


@pytest.mark.parametrize("place", ["guarded", "workspace"], indirect=True)
def test_every_job_is_somebody_to_the_gateway(place, submitted, leaders_job):
    for answer in submitted.values():
        place.admin.ended_job(answer["job_id"])

    def callers() -> set[str | None]:
        calls = place.admin.traces(place.made["usage"])
        return {call["trace_metadata"].get("mlflow.auth.username") for call in calls}

    wait_for(lambda: callers() == {USER, ADMIN, ROBOT}, "the gateway's record of its callers")


@pytest.mark.parametrize("route", ["/ajax-api/3.0/jobs/", "/ajax-api/3.0/mlflow/jobs/"])
@pytest.mark.parametrize(
    ("user", "own", "leaders"),
    [(None, 401, 401), (STRANGER, 403, 403), (USER, 200, 403), (ADMIN, 200, 200)],
)
@pytest.mark.parametrize("place", ["guarded"], indirect=True)
def test_a_job_is_shown_to_its_owner_and_the_administrator(
    place, submitted, leaders_job, route, user, own, leaders
):
    caller = place.other(user)
    job_id = submitted["invoke_scorer"]["job_id"]
    assert caller.request("GET", route + job_id)[0] == own
    assert caller.request("GET", route + leaders_job["job_id"])[0] == leaders


@pytest.mark.parametrize("place", ["guarded"], indirect=True)
def test_a_search_shows_each_user_their_own_jobs(place, submitted):
    def found(user: str) -> set[str]:
        answer = place.other(user).ask("POST", "/ajax-api/3.0/jobs/search", {})
        return {job["job_id"] for job in answer["jobs"]}

    theirs = {"invoke_scorer", "invoke_genai_evaluate", "invoke_issue_detection"}
    assert found(STRANGER) == set()
    assert found(USER) == {submitted[name]["job_id"] for name in theirs | {"optimize_prompts"}}
    assert found(ADMIN) >= {answer["job_id"] for answer in submitted.values()}


@pytest.mark.parametrize(
    ("user", "cancels", "submits"),
    [(None, 401, 401), (STRANGER, 403, 403), (USER, 400, 403), (ADMIN, 400, 400)],
)
@pytest.mark.parametrize("place", ["guarded"], indirect=True)
def test_only_the_owner_cancels_and_only_the_administrator_submits_by_name(
    place, submitted, user, cancels, submits
):
    job_id = submitted["invoke_scorer"]["job_id"]
    place.caller.ended_job(job_id)
    caller = place.other(user)
    # Those who may are told what is wrong: the job has ended, and there is no job of that name.
    assert caller.request("PATCH", f"/ajax-api/3.0/jobs/cancel/{job_id}")[0] == cancels
    body = {"job_name": "no_such_job", "params": {}}
    assert caller.request("POST", "/ajax-api/3.0/jobs/", body)[0] == submits


@pytest.mark.parametrize("place", ["guarded"], indirect=True)
def test_an_online_scorer_is_set_up_by_those_who_may_use_its_model(place):
    caller = place.other(STRANGER)
    body = {"name": "the stranger's"}
    experiment = caller.ask("POST", "/api/2.0/mlflow/experiments/create", body)["experiment_id"]
    scorer = {"experiment_id": experiment, "name": "polite"}
    grant = {
        "username": STRANGER,
        "resource_type": "gateway_endpoint",
        "resource_id": place.made["endpoint"],
    }

    def register() -> int:
        body = scorer | {"serialized_scorer": place.judge("polite")}
        return caller.request("POST", "/api/3.0/mlflow/scorers/register", body)[0]

    def switch(rate: float) -> int:
        body = scorer | {"sample_rate": rate}
        return caller.request("PUT", "/api/3.0/mlflow/scorers/online-config", body)[0]

    assert (register(), switch(1.0)) == (200, 403)
    usable = grant | {"permission": "USE"}
    place.admin.ask("POST", "/api/3.0/mlflow/users/permissions/grant", usable)
    assert (switch(1.0), register()) == (200, 200)
    place.admin.ask("POST", "/api/3.0/mlflow/users/permissions/revoke", grant)
    assert (register(), switch(0.0), register()) == (403, 200, 200)


@pytest.mark.parametrize("place", ["guarded"], indirect=True)
def test_an_online_scorer_is_set_up_by_those_who_hold_what_it_declares(place):
    caller = place.other(STRANGER)
    body = {"name": "the stranger's, too"}
    experiment = caller.ask("POST", "/api/2.0/mlflow/experiments/create", body)["experiment_id"]
    scorer = {"experiment_id": experiment, "name": "declaring"}
    declared = [{"type": "prompt", "identifier": place.made["prompt"]}]
    judge = json.loads(place.judge("declaring")) | {"required_resources": declared}
    usable = {"resource_type": "gateway_endpoint", "resource_id": place.made["endpoint"]}
    hidden = {"resource_type": "prompt", "resource_id": "greeting"}

    def permit(verb: str, resource: Mapping[str, str], **permission: str) -> None:
        body = {"username": STRANGER, **resource, **permission}
        place.admin.ask("POST", f"/api/3.0/mlflow/users/permissions/{verb}", body)

    def register(declaration: Any = declared) -> int:
        serialized = json.dumps(judge | {"required_resources": declaration})
        body = scorer | {"serialized_scorer": serialized}
        return caller.request("POST", "/api/3.0/mlflow/scorers/register", body)[0]

    def switch(rate: float) -> int:
        body = scorer | {"sample_rate": rate}
        return caller.request("PUT", "/api/3.0/mlflow/scorers/online-config", body)[0]

    permit("grant", usable, permission="USE")
    permit("grant", hidden, permission="DENY")
    assert (register("all of them"), register(), switch(1.0)) == (400, 200, 403)
    permit("revoke", hidden)
    assert (switch(1.0), register()) == (200, 200)
    permit("grant", hidden, permission="DENY")
    assert (register(), register([]), switch(0.0), register()) == (403, 200, 200, 200)
    permit("revoke", hidden)
    permit("revoke", usable)


@pytest.mark.parametrize("place", ["guarded"], indirect=True)
def test_issue_detection_is_scheduled_by_those_who_may_use_the_model(place):
    caller = place.other(STRANGER)
    selections = {
        "gateway_endpoint": (place.made["endpoint"], {"endpointName": ENDPOINT}),
        "gateway_secret": (
            place.made["secret"],
            {"provider": "openai", "model": "stub", "secretId": place.made["secret"]},
        ),
    }

    def create(name: str, schedule: str) -> tuple[int, Any]:
        tag = {"key": "mlflow.issueDetection.schedule", "value": schedule}
        body = {"name": name, "tags": [tag]}
        return caller.request("POST", "/api/2.0/mlflow/experiments/create", body)

    def schedule_of(model: Mapping[str, str], paused: bool) -> str:
        timing = {"version": 1, "cadence": "weekly", "paused": paused}
        return json.dumps(timing | {"model": model})

    for kind, (resource, model) in selections.items():
        due, paused = schedule_of(model, False), schedule_of(model, True)
        grant = {"username": STRANGER, "resource_type": kind, "resource_id": resource}
        assert create(f"with {kind}", due)[0] == 403
        status, made = create(f"with {kind}", paused)
        assert status == 200

        def set_tag(schedule: str, experiment: str = made["experiment_id"]) -> int:
            key = "mlflow.issueDetection.schedule"
            body = {"experiment_id": experiment, "key": key, "value": schedule}
            path = "/ajax-api/2.0/mlflow/experiments/set-experiment-tag"
            return caller.request("POST", path, body)[0]

        assert (set_tag(due), set_tag(paused)) == (403, 200)
        usable = grant | {"permission": "USE"}
        place.admin.ask("POST", "/api/3.0/mlflow/users/permissions/grant", usable)
        assert set_tag(due) == 200
        assert set_tag(paused) == 200
        place.admin.ask("POST", "/api/3.0/mlflow/users/permissions/revoke", grant)
        assert set_tag(due) == 403


@pytest.mark.parametrize("place", ["open"], indirect=True)
def test_server_info_names_the_backends_of_a_server_as_it_comes(place):
    info = place.caller.ask("GET", "/api/3.0/mlflow/server-info")
    local = {"name": "local", "remote": False, "direct_provider_models": True}
    assert info["jobs"] == {"direct_provider_models": True, "backends": [local]}


@pytest.mark.parametrize("place", ["open"], indirect=True)
def test_a_providers_key_waits_sealed_over_a_restart_and_is_erased_at_the_end(place, submitted):
    for answer in submitted.values():
        place.caller.ended_job(answer["job_id"])
    server = place.caller.server
    pause_between_writes(place.runner(), f"sqlite:///{server.directory / 'mlflow.db'}")
    job_id = _detect(place, {"model": "stub", "secret_id": place.made["secret"]})["job_id"]
    assert place.caller.job(job_id)["status"] == "PENDING"
    assert _sealed_environment(server, job_id) is not None
    assert not _holds(server, MODEL_KEY)

    calls = len(place.stub.keys)
    server.kill()
    server.start()
    server.wait_until_ready()

    assert _result(place, {"job_id": job_id})["total_traces_analyzed"] == 3
    assert set(place.stub.keys[calls:]) == {MODEL_KEY}
    assert _sealed_environment(server, job_id) is None
    assert not _holds(server, MODEL_KEY)


def _result(place: Place, answer: Mapping[str, str]) -> Any:
    job = place.admin.ended_job(answer["job_id"])
    assert job["status"] == "SUCCEEDED", job
    return job["result"]


def _issues(place: Place, experiment_id: str, run_id: str) -> list[dict[str, Any]]:
    body = {"experiment_id": experiment_id, "max_results": 100}
    found = place.caller.ask("POST", "/api/3.0/mlflow/issues/search", body)
    return [issue for issue in found.get("issues", []) if issue["source_run_id"] == run_id]


def _sealed_environment(server: Server, job_id: str) -> str | None:
    with closing(sqlite3.connect(server.directory / "mlflow.db")) as database:
        query = "SELECT sealed_environment FROM jobs WHERE id = ?"
        ((sealed,),) = database.execute(query, [job_id])
    return sealed


def _holds(server: Server, text: str) -> bool:
    """Whether the text stands in clear in the database's files or in the log."""
    files = [*server.directory.glob("mlflow.db*"), server.log_path]
    return any(text.encode() in file.read_bytes() for file in files)
