"""Where custom scorers may run online, and that the tracking store goes by it."""

import json
import subprocess
import sys

import pytest

from mlflow.exceptions import MlflowException
from mlflow.genai import scorer
from mlflow.genai.scorers.online.active_scorers import split_by_level
from mlflow.genai.scorers.online.custom_scorers import (
    custom_scorers_have_a_place_online,
    custom_scorers_run_online,
)

ENABLED = "MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS"
BACKEND = "MLFLOW_JOB_CUSTOM_SCORER_EXECUTOR_BACKEND"
DEFAULT = "MLFLOW_JOB_DEFAULT_EXECUTOR_BACKEND"


@scorer
def length(outputs) -> int:
    return len(outputs)


@scorer
def turns(session) -> int:
    return len(session)


@scorer
def matches(outputs, expectations) -> bool:
    return outputs == expectations["answer"]


def register(store, experiment_id, custom_scorer):
    dumped = json.dumps(custom_scorer.model_dump())
    store.register_scorer(experiment_id, custom_scorer.name, dumped)


@pytest.mark.parametrize(
    ("settings", "place", "run"),
    [
        ({}, True, False),
        ({ENABLED: "true"}, True, True),
        ({ENABLED: "true", BACKEND: "local"}, True, True),
        ({ENABLED: "true", BACKEND: "docker"}, True, True),
        ({BACKEND: "docker"}, True, True),
        ({ENABLED: "true", BACKEND: "ray"}, False, False),
        ({ENABLED: "true", BACKEND: "ray", DEFAULT: "ray"}, True, True),
    ],
)
def test_custom_scorers_run_where_they_are_enabled_and_have_no_backend_of_their_own(
    settings, place, run, monkeypatch
):
    for variable in (ENABLED, BACKEND, DEFAULT):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)

    assert (custom_scorers_have_a_place_online(), custom_scorers_run_online()) == (place, run)


def test_a_custom_scorer_can_be_scheduled_and_is_active(store, experiment_id):
    register(store, experiment_id, length)

    store.upsert_online_scoring_config(experiment_id, "length", 1.0)

    assert [active.name for active in store.get_active_online_scorers()] == ["length"]


@pytest.mark.parametrize(
    ("settings", "refusal"),
    [
        ({ENABLED: "false"}, "gateway model"),
        ({BACKEND: "ray"}, "gateway model"),
        ({ENABLED: "false", BACKEND: "docker"}, ENABLED),
    ],
)
def test_a_custom_scorer_that_would_not_run_cannot_be_scheduled(
    settings, refusal, store, experiment_id, monkeypatch
):
    register(store, experiment_id, length)
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)

    with pytest.raises(MlflowException, match=refusal):
        store.upsert_online_scoring_config(experiment_id, "length", 1.0)


def test_a_custom_scorer_that_wants_expectations_cannot_be_scheduled(store, experiment_id):
    register(store, experiment_id, matches)

    with pytest.raises(MlflowException, match="expectations"):
        store.upsert_online_scoring_config(experiment_id, "matches", 1.0)


@pytest.mark.parametrize("settings", [{ENABLED: "false"}, {BACKEND: "ray"}])
def test_a_scheduled_custom_scorer_is_no_longer_active_once_it_may_not_run(
    settings, store, experiment_id, monkeypatch
):
    register(store, experiment_id, length)
    store.upsert_online_scoring_config(experiment_id, "length", 1.0)

    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)

    assert store.get_active_online_scorers() == []


def test_custom_scorers_are_told_apart_by_level_without_running_their_code(online, monkeypatch):
    monkeypatch.delenv("_MLFLOW_SERVER_BOOT_ID")  # Upstream's own guard knows servers by it.
    stored = online(length)
    stored.serialized_scorer = json.dumps(
        {**length.model_dump(), "call_signature": "(outputs, defined=1 / 0)"}
    )

    trace_level, session_level = split_by_level([stored, online(turns)], pytest.fail)

    assert [one.name for one in trace_level] == ["length"]
    assert [one.name for one in session_level] == ["turns"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 7}', '{"unknown_field": 1}'])
def test_a_malformed_scorer_is_left_out_with_a_reason(online, text):
    malformed, reasons = online(length), []
    malformed.serialized_scorer = text

    levels = split_by_level([malformed], lambda one, reason: reasons.append((one, reason)))

    assert levels == ([], [])
    ((left_out, reason),) = reasons
    assert left_out is malformed
    assert reason.startswith("it cannot be loaded: ")


def test_what_the_tracking_store_imports_of_online_scoring_loads_no_server():
    script = (
        "import sys, mlflow.genai.scorers.online, mlflow.genai.scorers.online.custom_scorers, "
        "mlflow.genai.scorers.online.active_scorers; "
        "sys.exit(any(name.startswith('mlflow.server') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
