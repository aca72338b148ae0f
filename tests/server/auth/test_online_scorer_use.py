"""Who may set up an online scorer; the whole way over HTTP is a test of a real server."""

import json

import pytest

from mlflow.genai import make_judge
from mlflow.server.auth.online_scorer_use import Caller, may_register, may_switch_on
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore


def _judge(model: str) -> str:
    judge = make_judge("polite", "Is {{ outputs }} polite?", model=model, feedback_value_type=str)
    return json.dumps(judge.model_dump())


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
