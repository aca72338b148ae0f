"""Jobs work where a company's own function tells who a caller is in place of basic-auth's users."""

from collections.abc import Iterator

import pytest

from tests.adoption import job_places
from tests.adoption.company_login import NO_ENTRY
from tests.adoption.job_material import ENDPOINT, ROBOT, STRANGER, USER
from tests.adoption.job_places import Place
from tests.adoption.servers import wait_for

pytestmark = pytest.mark.servers

_NEWCOMER = "eve"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("company")
    with job_places.guarded_place(directory, "company_login:login") as place:
        yield place


def _invoke(place: Place, user: str) -> tuple[int, object]:
    body = {
        "experiment_id": place.made["experiment"],
        "serialized_scorer": place.judge("invoked"),
        "trace_ids": place.made["traces"],
        "log_assessments": True,
    }
    return place.other(user).request("POST", "/ajax-api/3.0/mlflow/scorer/invoke", body)


@pytest.fixture(scope="module")
def job(place) -> dict[str, object]:
    """A judge that the user runs, when it has ended."""
    status, answer = _invoke(place, USER)
    assert status == 200, answer
    return place.caller.ended_job(answer["jobs"][0]["job_id"])


def test_a_user_of_the_companys_runs_a_judge_behind_the_gateway(place, job):
    assert (job["status"], job["creator"]) == ("SUCCEEDED", USER), job
    assert place.caller.feedback(place.made["experiment"], "invoked") == (
        place.one_yes_for_each_trace()
    )


def test_a_job_whose_function_names_no_user_reaches_the_gateway_as_its_creator(place):
    body = {
        "experiment_id": place.made["experiment"],
        "trace_ids": place.made["traces"],
        "categories": ["correctness"],
        "provider": "openai",
        "endpoint_name": ENDPOINT,
    }
    answer = place.caller.ask("POST", "/ajax-api/3.0/mlflow/issues/invoke", body)
    assert place.caller.ended_job(answer["job_id"])["status"] == "SUCCEEDED"


def test_what_the_leader_found_reaches_the_gateway_as_the_named_user(place, job):
    def callers() -> set[str | None]:
        calls = place.admin.traces(place.made["usage"])
        return {call["trace_metadata"].get("mlflow.auth.username") for call in calls}

    wait_for(lambda: callers() == {USER, ROBOT}, "the gateway's record of its callers", 150)


@pytest.mark.parametrize("route", ["/ajax-api/3.0/jobs/", "/ajax-api/3.0/mlflow/jobs/"])
def test_whom_the_company_refuses_is_told_so_in_its_own_words(place, job, route):
    assert place.other(STRANGER).request("GET", route + job["job_id"]) == (403, NO_ENTRY)
    assert place.other(USER).request("GET", route + job["job_id"])[0] == 200


def test_whom_the_company_refuses_submits_nothing(place):
    assert _invoke(place, STRANGER) == (403, NO_ENTRY)
    named = {"job_name": "invoke_scorer", "params": {}}
    submitted = place.other(STRANGER).request("POST", "/ajax-api/3.0/jobs/", named)
    assert submitted == (403, NO_ENTRY)


def test_whom_mlflow_does_not_know_is_told_what_is_wrong(place):
    status, answer = _invoke(place, _NEWCOMER)
    assert (status, answer["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert _NEWCOMER in answer["message"]
    named = {"job_name": "invoke_scorer", "params": {}}
    assert place.other(_NEWCOMER).request("POST", "/ajax-api/3.0/jobs/", named)[0] == 401
