"""What each job function is granted on a remote backend, and what it is refused for."""

import json

import pytest

from mlflow.entities._job import JobScopedPermission
from mlflow.genai import make_judge, scorer
from mlflow.genai.scorers import RequiredResource, Safety
from mlflow.server.jobs.errors import InvalidSubmission
from mlflow.server.jobs.functions import _OURS
from mlflow.server.jobs.remote import permissions
from mlflow.server.jobs.remote.permissions import grant_for
from tests.server.jobs.fakes import RemoteExecutor, ScriptedExecutor


@scorer(
    required_resources=(
        RequiredResource("gateway_endpoint", "declared"),
        RequiredResource("prompt", "grading"),
    )
)
def declaring(outputs):
    return bool(outputs)


@scorer
def undeclared(outputs):
    import openai

    return bool(openai)


def judge(model: str) -> str:
    made = make_judge("polite", "Is {{ outputs }} polite?", model=model, feedback_value_type=str)
    return json.dumps(made.model_dump())


def online(*serialized: str) -> list[dict]:
    return [{"name": f"s{i}", "serialized_scorer": text} for i, text in enumerate(serialized)]


JUDGE, OTHER_JUDGE = judge("gateway:/judges"), judge("gateway:/others")
DIRECT = judge("openai:/gpt-5")
DEFAULTED = json.dumps(Safety().model_dump())
DECLARING, UNDECLARED = (json.dumps(s.model_dump()) for s in (declaring, undeclared))

EDIT = ("experiment", "7", "EDIT")
JUDGES = ("gateway_endpoint", "judges", "USE")
OTHERS = ("gateway_endpoint", "others", "USE")
DECLARED = ("gateway_endpoint", "declared", "USE")
GRADING = ("prompt", "grading", "READ")

GRANTED = [
    ("invoke_scorer", {"serialized_scorer": JUDGE}, [EDIT, JUDGES]),
    ("invoke_scorer", {"serialized_scorer": DECLARING}, [EDIT, DECLARED, GRADING]),
    (
        "run_online_trace_scorer",
        {"online_scorers": online(JUDGE, OTHER_JUDGE, JUDGE)},
        [EDIT, JUDGES, OTHERS],
    ),
    (
        "run_online_session_scorer",
        {"online_scorers": online(JUDGE, DECLARING)},
        [EDIT, DECLARED, JUDGES, GRADING],
    ),
    ("run_online_trace_scorer", {"online_scorers": []}, [EDIT]),
    (
        "invoke_genai_evaluate",
        {"serialized_scorers": [OTHER_JUDGE, JUDGE]},
        [EDIT, JUDGES, OTHERS],
    ),
    ("invoke_issue_detection", {"model": "gateway:/judges"}, [EDIT, JUDGES]),
    ("scheduled_issue_detection", {"model": "gateway:/others"}, [EDIT, OTHERS]),
    ("an_operators_job", {}, [EDIT]),
    ("an_operators_job", {"llm": "gateway:/judges", "note": "models:/m"}, [EDIT, JUDGES]),
    ("an_operators_job", {"serialized_scorer": JUDGE}, [EDIT, JUDGES]),
    ("an_operators_job", {"serialized_scorers": 3, "model": "models:/m/1"}, [EDIT]),
]
REFUSED = [
    ("invoke_scorer", {"serialized_scorer": DIRECT}, "params.serialized_scorer: scorer 'polite' "),
    ("invoke_scorer", {"serialized_scorer": DEFAULTED}, "scorer 'safety' names no model"),
    ("invoke_scorer", {"serialized_scorer": UNDECLARED}, "scorer 'undeclared' imports openai"),
    ("invoke_scorer", {"serialized_scorer": "{"}, "params.serialized_scorer: .* not JSON"),
    (
        "invoke_genai_evaluate",
        {"serialized_scorers": [JUDGE, DIRECT]},
        r"params.serialized_scorers\[1\]: scorer 'polite' calls the model 'openai:/gpt-5'",
    ),
    (
        "run_online_trace_scorer",
        {"online_scorers": online(JUDGE, DIRECT)},
        r"params.online_scorers\[1\].serialized_scorer: ",
    ),
    ("run_online_trace_scorer", {"online_scorers": [{"name": "s"}]}, "not JSON"),
    ("invoke_issue_detection", {}, "params.model: the job names no model"),
    ("invoke_issue_detection", {"model": None}, "params.model: the job names no model"),
    ("invoke_issue_detection", {"model": "openai:/gpt-5"}, "params.model: .*AI Gateway"),
    ("scheduled_issue_detection", {"model": None}, "params.model: the job names no model"),
    ("an_operators_job", {"serialized_scorer": DIRECT}, "AI Gateway"),
]


def grant(job_name, params, executor=None, experiment_id="7", workspace=None):
    executor = executor or RemoteExecutor()
    params = {"experiment_id": experiment_id, **params}
    return grant_for(executor, "ray", job_name, params, workspace)


@pytest.mark.parametrize(("job_name", "params", "expected"), GRANTED)
def test_a_job_is_granted_what_its_params_name(job_name, params, expected):
    found = grant(job_name, params)
    assert [(p.resource_type, p.resource_identifier, p.permission) for p in found] == expected


@pytest.mark.parametrize(("job_name", "params", "words"), REFUSED)
def test_a_job_is_refused_for_what_cannot_be_granted(job_name, params, words):
    with pytest.raises(InvalidSubmission, match=words) as refused:
        grant(job_name, params)
    assert refused.value.get_http_status_code() == 400
    assert "'ray'" in refused.value.message


def test_every_job_function_of_mlflow_has_its_line_in_the_tables():
    # What a prompt optimization is granted has a file of its own.
    assert {name for name, *_ in GRANTED} >= _OURS.keys() - {"optimize_prompts"}


@pytest.mark.parametrize(
    ("job_name", "params"), [(name, params) for name, params, _ in (*GRANTED, *REFUSED)]
)
def test_a_job_beside_the_server_gets_no_grant_and_is_refused_nothing(job_name, params):
    assert grant(job_name, params, ScriptedExecutor()) is None


@pytest.mark.parametrize("experiment_id", [None, "", 7, ["7"]])
def test_a_job_of_mlflow_without_an_experiment_is_refused(experiment_id):
    with pytest.raises(InvalidSubmission, match="params.experiment_id: is required"):
        grant("invoke_genai_evaluate", {"serialized_scorers": [JUDGE]}, experiment_id=experiment_id)


def test_a_job_function_of_an_operator_needs_no_experiment():
    assert grant("an_operators_job", {"x": 1}, experiment_id=None) == []


def test_a_grant_is_for_the_workspace_of_the_job():
    found = grant("invoke_scorer", {"serialized_scorer": JUDGE}, workspace="team-a")
    assert found == [
        JobScopedPermission("experiment", "7", "team-a", "EDIT"),
        JobScopedPermission("gateway_endpoint", "judges", "team-a", "USE"),
    ]


@pytest.mark.parametrize(
    ("job_name", "params"),
    [
        ("invoke_scorer", {"serialized_scorer": DIRECT}),
        ("invoke_issue_detection", {"model": "openai:/gpt-5"}),
    ],
)
def test_a_backend_with_credentials_of_its_own_needs_no_grant_for_direct_models(job_name, params):
    [only] = grant(job_name, params, RemoteExecutor(direct_models=True))
    assert only.resource_type == "experiment"


@pytest.mark.parametrize("params", [{"serialized_scorer": s} for s in (DEFAULTED, UNDECLARED)])
def test_what_cannot_be_told_is_refused_even_there(params):
    with pytest.raises(InvalidSubmission):
        grant("invoke_scorer", params, RemoteExecutor(direct_models=True))


def test_what_cannot_be_granted_is_refused_before_anything_is_looked_up(monkeypatch):
    def unexpected(params):
        raise AssertionError("looked up")

    monkeypatch.setattr(permissions, "needs_of_optimization", unexpected)
    with pytest.raises(InvalidSubmission, match="reflection_model"):
        grant("optimize_prompts", {"optimizer_config": None})
