"""Lock keys are those of 3.18, so that both releases exclude each other on one database."""

import pytest

from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.server.jobs.lock_manager import LockKeys, lock_key


@pytest.mark.parametrize(
    ("params", "exclusive", "key"),
    [
        ({"a": 1, "b": "é"}, True, "j:fb0782fb7a8a00c6"),
        ({"b": "é", "a": 1}, True, "j:fb0782fb7a8a00c6"),
        ({"a": 1, "b": "é"}, ["a"], "j:f9d86028c6e0d64e"),
        ({"a": 1}, ["absent"], "j:44136fa355b3678a"),
        ({"a": 1}, False, None),
        ({"a": 1}, [], None),
    ],
)
def test_a_lock_key_is_the_one_that_318_computes(params, exclusive, key):
    assert lock_key("j", params, exclusive, None) == key


@pytest.mark.parametrize(
    ("workspace", "key"),
    [("team", "team:j:f9d86028c6e0d64e"), (None, "default:j:f9d86028c6e0d64e")],
)
def test_with_workspaces_jobs_exclude_each_other_within_one(monkeypatch, workspace, key):
    monkeypatch.setenv(MLFLOW_ENABLE_WORKSPACES.name, "true")
    assert lock_key("j", {"a": 1}, True, workspace) == key


def test_rows_without_a_key_get_the_one_their_job_declares():
    keys = LockKeys({"j": ["a"], "free": False}.__getitem__)
    assert keys("j", {"a": 1, "b": 2}, "default") == "j:f9d86028c6e0d64e"
    assert keys("free", {"a": 1}, "default") is None
