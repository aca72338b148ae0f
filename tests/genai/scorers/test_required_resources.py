"""What a custom scorer declares survives until the server reads it."""

import json

import pytest

from mlflow.exceptions import MlflowException
from mlflow.genai import make_judge, scorer
from mlflow.genai.scorers import RequiredResource, Scorer, get_scorer, make_scorer_ensemble
from mlflow.genai.scorers.base import SerializedScorer
from mlflow.genai.scorers.required_resources import declared_in
from mlflow.genai.scorers.scorer_utils import get_scorer_definition_digest

ENDPOINT = RequiredResource(type="gateway_endpoint", identifier="judges")
PROMPT = RequiredResource(type="prompt", identifier="prompts:/grading/3")
DUMPED = [
    {"type": "gateway_endpoint", "identifier": "judges"},
    {"type": "prompt", "identifier": "prompts:/grading/3"},
]


@scorer(required_resources=(ENDPOINT, PROMPT))
def declaring(outputs):
    return bool(outputs)


@scorer
def silent(outputs):
    return bool(outputs)


@scorer(required_resources=())
def needing_nothing(outputs):
    return bool(outputs)


@pytest.mark.parametrize(
    ("kind", "identifier", "name"),
    [
        ("gateway_endpoint", "judges", "judges"),
        ("gateway_endpoint", "gateway:/judges", "judges"),
        ("gateway_endpoint", "gateway://judges", "judges"),
        ("prompt", "grading", "grading"),
        ("prompt", "prompts:/grading/3", "grading"),
        ("prompt", "prompts://grading/3", "grading"),
        ("prompt", "prompts:/grading@best", "grading"),
        ("prompt", "prompts:/a@b/3", "a@b"),
        ("prompt", "prompts:/a@b@best", "a@b"),
        ("prompt", "a@b", "a@b"),
    ],
)
def test_a_resource_is_known_by_its_name_without_scheme_and_version(kind, identifier, name):
    assert RequiredResource(kind, identifier).name == name


@pytest.mark.parametrize(
    ("kind", "identifier"),
    [
        ("experiment", "1"),
        ("", "x"),
        (None, "x"),
        ("prompt", ""),
        ("prompt", "prompts:/"),
        ("prompt", "prompts:/@best"),
        ("gateway_endpoint", "gateway:/"),
        ("gateway_endpoint", "  "),
        ("gateway_endpoint", None),
        ("gateway_endpoint", 7),
    ],
)
def test_a_resource_that_names_nothing_is_refused_where_it_is_written(kind, identifier):
    with pytest.raises(MlflowException, match="required resource"):
        RequiredResource(kind, identifier)


@pytest.mark.parametrize("declared", [ENDPOINT, "judges", [{"type": "prompt"}], ["judges"], 1])
def test_only_required_resources_can_be_declared(declared):
    with pytest.raises(MlflowException, match="required_resources must be a tuple"):

        @scorer(required_resources=declared)
        def wrong(outputs):
            return True


def test_the_serialized_form_has_the_declaration():
    assert declaring.model_dump()["required_resources"] == DUMPED
    assert needing_nothing.model_dump()["required_resources"] == []


@pytest.mark.parametrize(
    "undeclared",
    [
        silent,
        make_judge("polite", "Is {{ outputs }} polite?", model="gateway:/judges"),
        make_scorer_ensemble(name="all", scorers=[silent], ensemble_fn="majority_vote"),
    ],
    ids=lambda scorer: scorer.name,
)
def test_a_scorer_that_declares_nothing_is_serialized_as_ever(undeclared):
    assert "required_resources" not in undeclared.model_dump()


def test_a_declaration_is_no_part_of_any_other_scorers_serialized_form():
    assert "required_resources" not in SerializedScorer.__dataclass_fields__


@pytest.mark.parametrize("declared", [declaring, needing_nothing])
def test_a_declaration_survives_loading_and_copying(store, declared):
    loaded = Scorer.model_validate_json(json.dumps(declared.model_dump()))
    assert loaded.required_resources == declared.required_resources
    assert loaded.model_dump() == declared.model_dump()
    assert declared._create_copy().required_resources == declared.required_resources


def test_a_declaration_survives_registration_and_a_second_one(store, experiment_id, monkeypatch):
    monkeypatch.delenv("_MLFLOW_SERVER_BOOT_ID")
    declaring.register(experiment_id=experiment_id)
    found = get_scorer(name="declaring", experiment_id=experiment_id)
    assert found.required_resources == (ENDPOINT, PROMPT)

    found.register(name="again", experiment_id=experiment_id)
    stored = json.loads(store.get_scorer(experiment_id, "again")._serialized_scorer)
    assert stored["required_resources"] == DUMPED


def test_the_server_shows_a_declaration_without_running_code(store, monkeypatch):
    handle = Scorer.model_validate(declaring.model_dump())
    assert type(handle).__name__ == "_UnexecutedDecoratorScorer"
    assert handle.required_resources == (ENDPOINT, PROMPT)
    assert handle.model_dump() == declaring.model_dump()


def test_a_member_of_an_ensemble_keeps_its_declaration():
    ensemble = make_scorer_ensemble(
        name="all", scorers=[declaring, silent], ensemble_fn="majority_vote"
    )
    members = ensemble.model_dump()["ensemble_scorer_data"]["scorers"]
    assert [declared_in(member) for member in members] == [(ENDPOINT, PROMPT), None]


def test_the_digest_of_a_scorer_without_a_declaration_knows_nothing_of_declarations():
    assert get_scorer_definition_digest(silent) != get_scorer_definition_digest(needing_nothing)
    normalized = {**silent.model_dump()}
    assert sorted(normalized) == sorted(SerializedScorer.__dataclass_fields__)


@pytest.mark.parametrize(
    "malformed",
    [
        "judges",
        {"type": "prompt", "identifier": "x"},
        ["judges"],
        [None],
        [{"type": "prompt"}],
        [{"type": "prompt", "identifier": "x", "permission": "MANAGE"}],
        [{"type": "experiment", "identifier": "1"}],
        [{"type": "prompt", "identifier": ["x"]}],
        [{"type": ["prompt"], "identifier": "x"}],
    ],
)
def test_a_declaration_that_cannot_be_read_is_an_error(malformed):
    with pytest.raises(MlflowException, match="required") as refused:
        declared_in({"name": "mine", "required_resources": malformed})
    assert refused.value.get_http_status_code() == 400
