"""Who may schedule issue detection; the whole way over HTTP is a test of a real server."""

import json

import pytest

from mlflow.entities.experiment_tag import ExperimentTag
from mlflow.server.auth.issue_schedule_use import Caller, may_set_tags
from mlflow.utils.mlflow_tags import (
    MLFLOW_ISSUE_DETECTION_CHECKPOINT,
    MLFLOW_ISSUE_DETECTION_SCHEDULE,
)

_ENDPOINT = {"endpointName": "judges"}
_DIRECT = {"provider": "openai", "model": "gpt"}
_WITH_SECRET = _DIRECT | {"secretId": "s-1"}


def _schedule(model: object = None, **more: object) -> str:
    return json.dumps({"version": 1, "cadence": "daily", "model": model} | more)


def _may_set(value: str, key: str = MLFLOW_ISSUE_DETECTION_SCHEDULE, holds: tuple = ()) -> bool:
    caller = Caller(
        may_use_endpoint=lambda endpoint: ("endpoint", endpoint) in holds,
        may_use_secret=lambda secret: ("secret", secret) in holds,
    )
    return may_set_tags([ExperimentTag("note", "x"), ExperimentTag(key, value)], caller)


@pytest.mark.parametrize(
    ("model", "held"),
    [(_ENDPOINT, ("endpoint", "judges")), (_WITH_SECRET, ("secret", "s-1"))],
)
def test_a_schedule_is_set_by_those_who_may_use_what_it_names(model, held):
    assert not _may_set(_schedule(model))
    assert not _may_set(_schedule(model), holds=(("endpoint", "other"), ("secret", "other")))
    assert _may_set(_schedule(model), holds=(held,))


@pytest.mark.parametrize(
    "value",
    [
        _schedule(),
        _schedule(_DIRECT),
        _schedule(_ENDPOINT, paused=True),
        _schedule(_ENDPOINT, cadence="hourly, or never"),
        _schedule(_ENDPOINT, version=99),
        "not json",
        "",
    ],
)
def test_a_schedule_that_calls_nothing_of_the_gateway_is_set_by_any_editor(value):
    assert _may_set(value)


def test_other_tags_are_set_by_any_editor():
    assert _may_set(_schedule(_ENDPOINT), key=MLFLOW_ISSUE_DETECTION_CHECKPOINT)
