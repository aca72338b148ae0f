"""What a prompt optimization on a remote backend is granted, from the stores that it names."""

import json

import pytest

import mlflow
from mlflow.genai import make_judge
from mlflow.server import handlers
from mlflow.server.jobs.errors import InvalidSubmission
from mlflow.server.jobs.remote.permissions import grant_for
from tests.server.jobs.fakes import RemoteExecutor, ScriptedExecutor


@pytest.fixture
def prompt(store):
    config = {"provider": "gateway", "model_name": "answers"}
    return mlflow.genai.register_prompt("greeting", "Greet {{name}}.", model_config=config)


@pytest.fixture
def grant(experiment_id, prompt):
    def grant(executor=None, **changed):
        params = {
            "run_id": "r",
            "experiment_id": experiment_id,
            "prompt_uri": "prompts:/greeting/1",
            "dataset_id": "",
            "optimizer_type": "metaprompt",
            "optimizer_config": {"reflection_model": "gateway:/thinker"},
            "scorer_names": [],
        }
        found = grant_for(executor or RemoteExecutor(), "ray", "optimize_prompts", params | changed)
        return found and [
            (p.resource_type, p.resource_identifier, p.permission)
            for p in found
            if p.resource_type != "experiment"
        ]

    return grant


def register(store, experiment_id, name, model, **more):
    made = make_judge(name, "Is {{ outputs }} polite?", model=model, feedback_value_type=str)
    store.register_scorer(experiment_id, name, json.dumps(made.model_dump() | more))


PLAIN = [
    ("gateway_endpoint", "answers", "USE"),
    ("gateway_endpoint", "thinker", "USE"),
    ("prompt", "greeting", "READ"),
]


@pytest.mark.parametrize(
    "uri", ["prompts:/greeting/1", "prompts:/greeting@best", "prompts:/greeting@latest", "greeting"]
)
def test_the_prompt_may_be_read_and_its_model_and_the_optimizers_called(grant, prompt, uri):
    mlflow.genai.set_prompt_alias("greeting", "best", prompt.version)
    assert grant(prompt_uri=uri) == PLAIN


def test_registered_scorers_may_call_their_models_and_what_they_declare(
    grant, store, experiment_id
):
    declared = [{"type": "prompt", "identifier": "style"}]
    register(store, experiment_id, "polite", "openai:/gpt-5", required_resources=declared)
    found = grant(RemoteExecutor(direct_models=True), scorer_names=["polite", "PIIDetection"])
    assert found == [*PLAIN, ("prompt", "style", "READ")]


def test_the_latest_version_of_a_scorer_counts_and_its_endpoint_by_name(
    grant, store, experiment_id
):
    register(store, experiment_id, "polite", "openai:/gpt-5")
    register(store, experiment_id, "polite", "gateway:/judges")
    assert ("gateway_endpoint", "judges", "USE") in grant(scorer_names=["polite"])


def test_a_scorer_registered_under_a_built_in_name_counts_where_the_job_loads_it(
    grant, store, experiment_id
):
    # Guidelines cannot be made without guidelines, so the job takes the registered one.
    register(store, experiment_id, "Guidelines", "gateway:/others")
    assert ("gateway_endpoint", "others", "USE") in grant(scorer_names=["Guidelines"])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"optimizer_config": None}, "optimizer_config.reflection_model: the optimizer names no"),
        ({"optimizer_config": {}}, "optimizer_config.reflection_model: the optimizer names no"),
        (
            {"optimizer_config": {"reflection_model": "openai:/o"}},
            "optimizer_config.reflection_model: .*Gateway",
        ),
        ({"optimizer_type": "lucky"}, "optimizer_type: must be one of gepa, metaprompt"),
        ({"optimizer_type": ""}, "optimizer_type: must be one of"),
        ({"prompt_uri": "prompts:/greeting/9"}, "prompt_uri: "),
        ({"prompt_uri": "prompts:/nobody/1"}, "prompt_uri: "),
        ({"prompt_uri": "prompts:/"}, "prompt_uri: "),
        ({"prompt_uri": ""}, "prompt_uri: "),
        ({"scorer_names": ["PIIDetection", "nobody"]}, r"scorer_names\[1\]: .*nobody"),
        ({"scorer_names": ["Safety"]}, r"scorer_names\[0\]: scorer 'safety' names no model"),
        ({"scorer_names": ["Guidelines"]}, r"scorer_names\[0\]: .*Guidelines"),
        ({"dataset_id": "d-1"}, "dataset_id: .*d-1"),
    ],
)
def test_what_is_missing_or_left_to_a_default_is_refused(grant, changed, words):
    with pytest.raises(InvalidSubmission, match=rf"params\.{words}"):
        grant(**changed)
    assert grant(ScriptedExecutor(), **changed) is None


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (None, "by its model configuration, names no model"),
        ({"model_name": "gpt-5"}, "by its model configuration, names no model"),
        ({"provider": "openai", "model_name": "gpt-5"}, "calls the model 'openai:/gpt-5'"),
    ],
)
def test_the_prompt_must_name_a_model_behind_the_gateway(grant, config, words):
    mlflow.genai.register_prompt("bare", "Greet {{name}}.", model_config=config)
    with pytest.raises(InvalidSubmission, match=f"params.prompt_uri: prompt 'bare', .*{words}"):
        grant(prompt_uri="prompts:/bare/1")


def test_a_registered_model_is_no_prompt(grant, store):
    handlers._model_registry_store.create_registered_model("a-model")
    with pytest.raises(InvalidSubmission, match="params.prompt_uri: "):
        grant(prompt_uri="prompts:/a-model/1")


def test_the_dataset_must_belong_to_the_experiment(grant, store, experiment_id):
    elsewhere = store.create_experiment("elsewhere")
    ours = store.create_dataset("ours", experiment_ids=[experiment_id, elsewhere])
    theirs = store.create_dataset("theirs", experiment_ids=[elsewhere])
    assert grant(dataset_id=ours.dataset_id) == PLAIN
    with pytest.raises(InvalidSubmission, match="params.dataset_id: .* does not belong to"):
        grant(dataset_id=theirs.dataset_id)
