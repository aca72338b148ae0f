"""Who may set up an online scorer; the whole way over HTTP is a test of a real server."""

import json

import pytest

from mlflow.genai import make_judge
from mlflow.genai.scorers import Safety, make_scorer_ensemble
from mlflow.server.auth.online_scorer_use import Caller, may_register, may_switch_on
from mlflow.store.tracking.dbmodels.models import SqlOnlineScoringConfig
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore


def _judge(model: str, **more: object) -> str:
    judge = make_judge("polite", "Is {{ outputs }} polite?", model=model, feedback_value_type=str)
    return json.dumps(judge.model_dump() | more)


def _declaring(kind: str, identifier: str) -> str:
    declared = [{"type": kind, "identifier": identifier}]
    return _judge("openai:/gpt-5-mini", required_resources=declared)


NOBODY = Caller(may_use=lambda endpoint: False, may_read=lambda prompt: False)


@pytest.fixture
def store(tmp_path):
    return SqlAlchemyStore(f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path))


@pytest.fixture
def experiment_id(store):
    return store.create_experiment("e")


@pytest.mark.parametrize("model", ["openai:/gpt-5-mini", "gateway:/any"])
def test_any_version_of_a_scorer_that_is_not_online_may_be_registered(store, experiment_id, model):
    assert may_register(store, experiment_id, "polite", _judge(model), NOBODY)


@pytest.mark.parametrize("payload", ["not json", "[]", "null"])
def test_what_cannot_be_read_is_left_to_the_handler(store, experiment_id, payload):
    assert may_register(store, experiment_id, "polite", payload, NOBODY)


def test_a_scorer_without_a_gateway_model_may_be_switched_on(store, experiment_id):
    store.register_scorer(experiment_id, "polite", _judge("openai:/gpt-5-mini"))
    assert may_switch_on(store, experiment_id, "polite", 1.0, NOBODY)


@pytest.mark.parametrize(
    ("serialized", "asked"),
    [
        (_judge("gateway:/judges"), {"use judges"}),
        (_declaring("gateway_endpoint", "gateway:/declared"), {"use declared"}),
        (_declaring("prompt", "prompts:/grading/1"), {"read grading"}),
        (
            _judge("gateway:/j", required_resources=[{"type": "prompt", "identifier": "grading"}]),
            {"use j", "read grading"},
        ),
        (
            json.dumps(
                make_scorer_ensemble(
                    name="all",
                    scorers=[Safety(model="gateway:/inner"), Safety(model="gateway:/other")],
                    ensemble_fn="majority_vote",
                ).model_dump()
            ),
            {"use inner", "use other"},
        ),
    ],
)
def test_an_online_scorer_asks_for_all_that_it_will_be_granted(
    store, experiment_id, serialized, asked
):
    """Each of it decides: with all of it the caller may, and without any one not."""

    def caller(held: set[str]) -> Caller:
        return Caller(
            may_use=lambda endpoint: f"use {endpoint}" in held,
            may_read=lambda prompt: f"read {prompt}" in held,
        )

    store.register_scorer(experiment_id, "polite", _judge("openai:/gpt-5-mini"))
    _put_online(store, experiment_id)
    assert may_register(store, experiment_id, "polite", serialized, caller(asked))
    for missing in asked:
        lacking = caller(asked - {missing})
        assert not may_register(store, experiment_id, "polite", serialized, lacking)


@pytest.mark.parametrize("kind", ["gateway_endpoint", "prompt"])
def test_switching_on_asks_for_what_the_registered_scorer_declares(store, experiment_id, kind):
    store.register_scorer(experiment_id, "polite", _declaring(kind, "it"))
    everybody = Caller(may_use=lambda endpoint: True, may_read=lambda prompt: True)
    assert not may_switch_on(store, experiment_id, "polite", 1.0, NOBODY)
    assert may_switch_on(store, experiment_id, "polite", 0, NOBODY)
    assert may_switch_on(store, experiment_id, "polite", 1.0, everybody)


def _put_online(store, experiment_id):
    """As it was when a judge with a gateway model had been switched on."""
    scorer = store.get_scorer(experiment_id, "polite")
    with store.ManagedSessionMaker(read_only=False) as session:
        session.add(
            SqlOnlineScoringConfig(
                online_scoring_config_id="c",
                scorer_id=scorer.scorer_id,
                sample_rate=1.0,
                experiment_id=int(experiment_id),
            )
        )
