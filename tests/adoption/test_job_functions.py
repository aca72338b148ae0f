"""Each of MLflow's job functions runs through a real server, its model behind the gateway."""

import dataclasses
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from dev.serving import Server
from tests.adoption import job_places
from tests.adoption.job_material import ENDPOINT, ROBOT, STRANGER, USER
from tests.adoption.job_places import ADMIN, MODEL_KEY, Place
from tests.adoption.job_submissions import (
    SUBMISSIONS,
    detect,
    invoke_genai_evaluate,
    invoke_issue_detection,
    invoke_scorer,
    result_of,
    scheduled_issue_detection,
    watch_progress,
)
from tests.adoption.servers import wait_for
from tests.pauses import pause_between_writes

pytestmark = pytest.mark.servers


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


@pytest.fixture(scope="module")
def open_workspace_place(tmp_path_factory) -> Iterator[Place]:
    with job_places.open_workspace_place(tmp_path_factory.mktemp("open_workspace")) as place:
        yield place


# Each of database, login and workspaces is met in both ways in every run; the last has the pairs of
# them that the others lack.
_PLACES = [
    "open",
    "guarded",
    "workspace",
    pytest.param("open_workspace", marks=pytest.mark.long),
]


@pytest.fixture(scope="module", params=_PLACES)
def place(request) -> Place:
    return request.getfixturevalue(f"{request.param}_place")


@pytest.fixture(scope="module")
def submitted(place) -> dict[str, Any]:
    """Job function -> what its submission was answered with. All of them run side by side."""
    return {name: submit(place) for name, submit in SUBMISSIONS.items()}


@pytest.fixture(scope="module")
def leaders_job(place) -> dict[str, Any]:
    """The job that the leader made of the traces of the watched experiment, when it has ended."""

    def found() -> list[dict[str, Any]]:
        body = {"job_name": "run_online_trace_scorer"}
        jobs = place.admin.ask("POST", "/ajax-api/3.0/jobs/search", body)["jobs"]
        return [job for job in jobs if job["params"]["experiment_id"] == place.made["watched"]]

    wait_for(found, "a job of the leader", timeout_seconds=90)
    return place.admin.ended_job(found()[0]["job_id"])


def test_a_judge_that_is_run_on_traces_leaves_its_answers_there(place, submitted):
    result = result_of(place, submitted["invoke_scorer"])
    assert sorted(result) == sorted(place.made["traces"])
    assert all(of_trace["failures"] == [] for of_trace in result.values())
    seen = place.caller.feedback(place.made["experiment"], "invoked")
    assert seen == place.one_yes_for_each_trace()


def test_an_evaluation_finishes_its_run_and_leaves_its_answers(place, submitted):
    answer = submitted["invoke_genai_evaluate"]
    run_id = answer["run_id"]
    assert result_of(place, answer) == {"run_id": run_id, "total_traces": 3, "scorer_count": 1}
    assert place.caller.run(run_id)["info"]["status"] == "FINISHED"
    seen = place.caller.feedback(place.made["experiment"], "evaluated")
    assert seen == place.one_yes_for_each_trace()


def test_an_issue_detection_files_what_it_found_and_finishes_its_run(place, submitted):
    answer = submitted["invoke_issue_detection"]
    result = result_of(place, answer)
    filed = _issues(place, place.made["experiment"], answer["run_id"])
    assert result["total_traces_analyzed"] == 3
    assert result["issues"] == len(filed) > 0
    assert place.caller.run(answer["run_id"])["info"]["status"] == "FINISHED"
    stage = place.caller.job(answer["job_id"])["status_details"]["stage"]
    assert stage == "Generating summary..."


def test_a_scheduled_issue_detection_covers_its_window_and_records_how_far(place, submitted):
    job_id, experiment = submitted["scheduled_issue_detection"]["job_id"], place.made["watched"]
    result = result_of(place, {"job_id": job_id})
    assert result["traces_in_window"] == len(place.made["watched_traces"])
    assert result["issues"] == len(_issues(place, experiment, result["run_id"])) > 0
    run = place.caller.run(result["run_id"])
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert (run["info"]["status"], tags["mlflow.issueDetection.jobId"]) == ("FINISHED", job_id)
    covered = place.caller.experiment_tag(experiment, "mlflow.issueDetection.checkpoint")
    assert place.made["watched_traces"][-1] in covered


@pytest.mark.skipif(find_spec("litellm") is not None, reason="litellm is installed")
def test_a_prompt_optimization_says_that_litellm_is_missing(place, submitted):
    job = place.caller.ended_job(submitted["optimize_prompts"]["job_id"])
    assert job["status"] == "FAILED"
    assert "The 'litellm' package is required for prompt optimization" in job["error_message"]


@pytest.mark.parametrize("place", ["open"], indirect=True)
@pytest.mark.parametrize(
    ("submit", "answers", "told"),
    [
        (invoke_scorer, 2, ("scoring traces", 2, 3, "traces")),
        (invoke_genai_evaluate, 2, ("evaluating traces", 2, 3, "traces")),
        # The first call tries the model; all traces are of one session, which is judged as a whole.
        (invoke_issue_detection, 1, ("Identifying issues from traces", 0, 1, "sessions")),
        (invoke_issue_detection, 2, ("Clustering issues", 1, 1, "sessions")),
        # Of another experiment, since a window that was covered is not covered again.
        (
            partial(scheduled_issue_detection, experiment="experiment"),
            1,
            ("Identifying issues from traces", 0, 1, "sessions"),
        ),
    ],
)
def test_how_far_a_job_is_can_be_seen_while_it_works(
    place, submitted, leaders_job, submit, answers, told
):
    # No other job takes one of the answers.
    for answer in submitted.values():
        place.caller.ended_job(answer["job_id"])
    watch_progress(place, submit, answers, told)


def test_an_online_job_scores_each_trace_once(place, submitted):
    result_of(place, submitted["run_online_trace_scorer"])
    seen = place.caller.feedback(place.made["experiment"], "traced")
    assert seen == place.one_yes_for_each_trace()


def test_an_online_job_scores_the_first_trace_of_each_session(place, submitted):
    result_of(place, submitted["run_online_session_scorer"])
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


# The last of its place, whose server is not started again.
@pytest.mark.parametrize("place", ["open"], indirect=True)
def test_a_providers_key_waits_sealed_for_any_server_and_is_erased_at_the_end(
    place, submitted, tmp_path
):
    for answer in submitted.values():
        place.caller.ended_job(answer["job_id"])
    first = place.caller.server
    database = first.directory / "mlflow.db"
    pause_between_writes(place.runner(), f"sqlite:///{database}")
    job_id = detect(place, {"model": "stub", "secret_id": place.made["secret"]})["job_id"]
    assert place.caller.job(job_id)["status"] == "PENDING"
    assert _sealed_environment(database, job_id) is not None
    assert not _holds(first, MODEL_KEY)

    calls = len(place.stub.keys)
    first.kill()
    with job_places.another_server(place, tmp_path) as second:
        elsewhere = dataclasses.replace(place, caller=second, admin=second)
        assert result_of(elsewhere, {"job_id": job_id})["total_traces_analyzed"] == 3
        assert set(place.stub.keys[calls:]) == {MODEL_KEY}
        assert _sealed_environment(database, job_id) is None
        assert not _holds(first, MODEL_KEY)
        assert not _holds(second.server, MODEL_KEY)


def _issues(place: Place, experiment_id: str, run_id: str) -> list[dict[str, Any]]:
    body = {"experiment_id": experiment_id, "max_results": 100}
    found = place.caller.ask("POST", "/api/3.0/mlflow/issues/search", body)
    return [issue for issue in found.get("issues", []) if issue["source_run_id"] == run_id]


def _sealed_environment(file: Path, job_id: str) -> str | None:
    with closing(sqlite3.connect(file)) as database:
        query = "SELECT sealed_environment FROM jobs WHERE id = ?"
        ((sealed,),) = database.execute(query, [job_id])
    return sealed


def _holds(server: Server, text: str) -> bool:
    """Whether the text stands in clear in the database's files or in the log."""
    files = [*server.directory.glob("mlflow.db*"), server.log_path]
    return any(text.encode() in file.read_bytes() for file in files)
