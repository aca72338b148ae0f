"""Submissions over HTTP to a server with remote backends, and the grants that they leave."""

import json
import socket
import threading

import pytest
import requests
import uvicorn

import mlflow
from mlflow.entities import TraceInfo, TraceLocation, TraceState
from mlflow.genai import make_judge, scorer
from mlflow.genai.scorers import RequiredResource, Safety
from mlflow.server import handlers
from mlflow.server.fastapi_app import create_fastapi_app
from mlflow.server.jobs import executor_registry
from mlflow.server.jobs.executor_registry import JobExecutorRegistry
from tests.server.jobs.fakes import RemoteExecutor, ScriptedExecutor


@scorer(required_resources=(RequiredResource("prompt", "prompts:/grading/1"),))
def declaring(outputs):
    return bool(outputs)


@scorer
def undeclared(outputs):
    import openai

    return bool(openai)


def judge(model: str = "gateway:/judges", name: str = "polite") -> str:
    made = make_judge(name, "Is {{ outputs }} polite?", model=model, feedback_value_type=str)
    return json.dumps(made.model_dump())


DECLARING, UNDECLARED = (json.dumps(s.model_dump()) for s in (declaring, undeclared))
DEFAULTED = json.dumps(Safety().model_dump())


@pytest.fixture(scope="module")
def address():
    """MLflow's whole application, as a web worker serves it."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_fastapi_app(), log_level="warning"))
    thread = threading.Thread(target=server.run, args=([listening],), name="server", daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=30)


@pytest.fixture(autouse=True)
def backends(store, monkeypatch):
    """Jobs run on `ray`, which is remote; custom scorers on `boxed`, which is so too."""
    registry = JobExecutorRegistry()
    registry.register("local", ScriptedExecutor())
    registry.register("ray", RemoteExecutor())
    registry.register("boxed", RemoteExecutor())
    monkeypatch.setattr(executor_registry, "_registry", registry)
    monkeypatch.setenv("MLFLOW_JOB_DEFAULT_EXECUTOR_BACKEND", "ray")
    monkeypatch.setenv("MLFLOW_JOB_CUSTOM_SCORER_EXECUTOR_BACKEND", "boxed")
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS", "true")


@pytest.fixture
def trace_id(store, experiment_id):
    info = TraceInfo(
        trace_id="tr-1",
        trace_location=TraceLocation.from_experiment_id(experiment_id),
        request_time=1,
        execution_duration=1,
        state=TraceState.OK,
    )
    return store.start_trace(info).trace_id


@pytest.fixture
def invoke(address, experiment_id, trace_id):
    def invoke(serialized: str) -> requests.Response:
        body = {
            "experiment_id": experiment_id,
            "serialized_scorer": serialized,
            "trace_ids": [trace_id],
        }
        return post(address, "mlflow/scorer/invoke", body)

    return invoke


def post(address: str, path: str, body: dict) -> requests.Response:
    return requests.post(f"{address}/ajax-api/3.0/{path}", json=body, timeout=300)


def granted(response: requests.Response) -> tuple[str, list[tuple[str, str, str]] | None]:
    """The backend of the submitted job, and its grant."""
    assert response.status_code == 200, response.text
    answer = response.json()
    answer = answer.get("jobs", [answer])[0]
    job = handlers._get_job_store().get_job(answer.get("job", answer)["job_id"])
    permissions = job.scoped_permissions and [
        (p.resource_type, p.resource_identifier, p.permission) for p in job.scoped_permissions
    ]
    return job.executor_backend, permissions


def jobs() -> list:
    return list(handlers._get_job_store().list_jobs())


def test_a_judge_of_the_panel_may_edit_its_experiment_and_call_its_model(invoke, experiment_id):
    assert granted(invoke(judge())) == (
        "ray",
        [("experiment", experiment_id, "EDIT"), ("gateway_endpoint", "judges", "USE")],
    )


def test_a_registered_judge_may_call_its_endpoint_by_name(address, store, experiment_id, trace_id):
    store.register_scorer(experiment_id, "polite", judge("gateway:/others"))
    body = {
        "experiment_id": experiment_id,
        "serialized_scorer": judge(),
        "scorer_name": "polite",
        "scorer_version": 1,
        "trace_ids": [trace_id],
    }
    _, grant = granted(post(address, "mlflow/scorer/invoke", body))
    assert grant == [("experiment", experiment_id, "EDIT"), ("gateway_endpoint", "others", "USE")]


def test_a_custom_scorer_goes_to_its_backend_with_what_it_declares(invoke, experiment_id):
    assert granted(invoke(DECLARING)) == (
        "boxed",
        [("experiment", experiment_id, "EDIT"), ("prompt", "grading", "READ")],
    )


def test_a_job_beside_the_server_is_stored_without_a_grant(invoke, monkeypatch):
    monkeypatch.setenv("MLFLOW_JOB_DEFAULT_EXECUTOR_BACKEND", "local")
    assert granted(invoke(judge("openai:/gpt-5"))) == ("local", None)


@pytest.mark.parametrize(
    ("serialized", "words"),
    [
        (judge("openai:/gpt-5"), "scorer 'polite' calls the model 'openai:/gpt-5'"),
        (judge("endpoints:/x"), "scorer 'polite' calls the model 'endpoints:/x'"),
        (DEFAULTED, "scorer 'safety' names no model"),
        (UNDECLARED, "declare it with @scorer(required_resources=...)"),
    ],
)
def test_a_scorer_that_cannot_be_granted_is_refused_by_name(invoke, serialized, words):
    refused = invoke(serialized)
    assert refused.status_code == 400
    assert words in refused.json()["message"]
    assert "params.serialized_scorer" in refused.json()["message"]
    assert jobs() == []


def test_an_evaluation_may_call_the_models_of_all_its_scorers(address, experiment_id, trace_id):
    body = {
        "experiment_id": experiment_id,
        "trace_ids": [trace_id],
        "serialized_scorers": [judge("gateway:/others", "kind"), judge()],
    }
    assert granted(post(address, "mlflow/genai/evaluate/invoke", body)) == (
        "ray",
        [
            ("experiment", experiment_id, "EDIT"),
            ("gateway_endpoint", "judges", "USE"),
            ("gateway_endpoint", "others", "USE"),
        ],
    )
    body["serialized_scorers"].append(judge("openai:/gpt-5", "third"))
    refused = post(address, "mlflow/genai/evaluate/invoke", body)
    assert refused.status_code == 400
    assert "params.serialized_scorers[2]: scorer 'third'" in refused.json()["message"]


def test_issue_detection_may_call_the_endpoint_that_was_chosen(address, experiment_id, trace_id):
    body = {
        "experiment_id": experiment_id,
        "trace_ids": [trace_id],
        "categories": ["correctness"],
        "provider": "openai",
        "endpoint_name": "judges",
    }
    assert granted(post(address, "mlflow/issues/invoke", body)) == (
        "ray",
        [("experiment", experiment_id, "EDIT"), ("gateway_endpoint", "judges", "USE")],
    )


def test_a_prompt_optimization_may_read_its_prompt(address, experiment_id):
    config = {"provider": "gateway", "model_name": "others"}
    mlflow.genai.register_prompt("greeting", "Greet {{name}}.", model_config=config)
    body = {
        "experiment_id": experiment_id,
        "source_prompt_uri": "prompts:/greeting/1",
        "config": {
            "optimizer_type": "OPTIMIZER_TYPE_METAPROMPT",
            "optimizer_config_json": json.dumps({"reflection_model": "gateway:/judges"}),
        },
    }
    assert granted(post(address, "mlflow/prompt-optimization/jobs", body)) == (
        "ray",
        [
            ("experiment", experiment_id, "EDIT"),
            ("gateway_endpoint", "judges", "USE"),
            ("gateway_endpoint", "others", "USE"),
            ("prompt", "greeting", "READ"),
        ],
    )


def test_the_general_submission_grants_and_refuses_the_same(address, experiment_id):
    def submit(**params) -> requests.Response:
        params = {"experiment_id": experiment_id, "online_scorers": [], **params}
        return post(address, "jobs/", {"job_name": "run_online_trace_scorer", "params": params})

    online = {"name": "polite", "serialized_scorer": judge(), "online_config": {}}
    accepted = submit(online_scorers=[online])
    assert granted(accepted) == (
        "ray",
        [("experiment", experiment_id, "EDIT"), ("gateway_endpoint", "judges", "USE")],
    )
    # A grant is between the server and the workload.
    assert not accepted.json().keys() & {"scoped_permissions", "token_hash"}

    refused = submit(online_scorers=[online, online | {"serialized_scorer": DEFAULTED}])
    assert refused.status_code == 400
    assert "params.online_scorers[1].serialized_scorer" in refused.json()["detail"]

    nameless = submit(experiment_id="")
    assert (nameless.status_code, "params.experiment_id" in nameless.text) == (400, True)


@pytest.mark.parametrize("depth", [400, 20_000])
def test_a_scorer_that_is_nested_too_deep_is_refused(address, experiment_id, depth):
    nested = '{"ensemble_scorer_data": {"scorers": [' * depth + "]}}" * depth
    params = {"experiment_id": experiment_id, "serialized_scorer": nested, "trace_ids": []}
    refused = post(address, "jobs/", {"job_name": "invoke_scorer", "params": params})
    assert refused.status_code == 400, refused.text
    assert jobs() == []


def test_server_info_says_which_backends_serve_and_what_they_reach(address):
    for path in ("api/3.0/mlflow/server-info", "ajax-api/3.0/mlflow/server-info"):
        answer = requests.get(f"{address}/{path}", timeout=300).json()
        assert answer["jobs"] == {
            "direct_provider_models": False,
            "backends": [
                {"name": "boxed", "remote": True, "direct_provider_models": False},
                {"name": "local", "remote": False, "direct_provider_models": True},
                {"name": "ray", "remote": True, "direct_provider_models": False},
            ],
        }
