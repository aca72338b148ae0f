"""Nobody submits a job that is granted more than its user holds."""

import json

import pytest

from mlflow.exceptions import MlflowException
from mlflow.genai import make_judge
from mlflow.genai.scorers.job import invoke_scorer_job
from mlflow.server import handlers
from mlflow.server.jobs import executor_registry, submit_job
from mlflow.server.jobs.executor_registry import JobExecutorRegistry
from mlflow.server.jobs.remote import holders
from tests.server.jobs.fakes import RemoteExecutor, ScriptedExecutor

DECLARED = [{"type": "prompt", "identifier": "grading"}]
NEEDED = {("experiment", "7", "EDIT"), ("gateway_endpoint", "judges", "USE")} | {
    ("prompt", "grading", "READ")
}


@pytest.fixture(autouse=True)
def backend(store, monkeypatch):
    monkeypatch.setattr(holders, "_holds", None)
    return use(RemoteExecutor(), monkeypatch)


def use(executor, monkeypatch):
    registry = JobExecutorRegistry()
    registry.register("local", executor)
    monkeypatch.setattr(executor_registry, "_registry", registry)


def submit(creator="ann"):
    judge = make_judge("polite", "Is {{ outputs }} so?", model="gateway:/judges")
    scorer = json.dumps(judge.model_dump() | {"required_resources": DECLARED})
    params = {"experiment_id": "7", "serialized_scorer": scorer, "trace_ids": []}
    return submit_job(invoke_scorer_job, params, creator=creator)


def ask(held: set) -> set:
    """Let the authorization know one user, ann, who holds this; returns what was asked."""
    asked = set()

    def holds(username, permission):
        assert username == "ann"
        named = (permission.resource_type, permission.resource_identifier, permission.permission)
        asked.add(named)
        return named in held

    holders.ask_before_granting(holds)
    return asked


def test_a_user_who_holds_all_of_it_may_submit():
    asked = ask(NEEDED)
    assert len(submit().scoped_permissions) == 3
    assert asked == NEEDED


@pytest.mark.parametrize("missing", sorted(NEEDED))
def test_a_user_who_lacks_any_of_it_may_not(missing):
    ask(NEEDED - {missing})
    with pytest.raises(MlflowException, match=f"granted {missing[2]} on the {missing[0]}") as no:
        submit()
    assert no.value.get_http_status_code() == 403
    assert list(handlers._get_job_store().list_jobs()) == []


def test_a_server_without_authorization_asks_nobody():
    assert len(submit().scoped_permissions) == 3


def test_a_job_that_nobody_submits_was_checked_when_it_was_set_up():
    ask(set())
    assert len(submit(creator=None).scoped_permissions) == 3


def test_a_job_beside_the_server_acts_as_its_user_and_is_not_asked_about(monkeypatch):
    use(ScriptedExecutor(), monkeypatch)
    ask(set())
    assert submit().scoped_permissions is None
