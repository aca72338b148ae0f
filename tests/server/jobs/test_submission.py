"""Submitting, looking up and canceling jobs on a real database."""

import threading
import uuid

import flask
import pytest
import sqlalchemy as sa

from mlflow.entities._job_status import JobStatus
from mlflow.exceptions import MlflowException
from mlflow.server import handlers
from mlflow.server.jobs import cancel_job, executor_registry, get_job, job, submit_job
from mlflow.server.jobs.executor import AbstractJobExecutor, JobExecutorConfig
from mlflow.server.jobs.executor_registry import JobExecutorRegistry
from mlflow.server.jobs.functions import _ALLOWED_JOB_NAME_LIST
from mlflow.server.jobs.lock_manager import lock_key
from mlflow.server.jobs.sealed_environment import open_sealed
from mlflow.server.jobs.submitting_term import submitting_under
from mlflow.server.jobs.wakeups.local_socket import LocalSocketReceiver, socket_path
from mlflow.store.jobs.errors import JobNotFound, LeadershipLost
from mlflow.utils.workspace_context import (
    clear_server_request_workspace,
    set_server_request_workspace,
)

JOB_NAMES = ["submission_plain", "submission_exclusive", "submission_exclusive_by_x"]


@job("submission_plain", max_workers=1)
def plain(x: int, y: str = ""):
    pass


@job("submission_exclusive", max_workers=1, exclusive=True)
def exclusive(x: int):
    pass


@job("submission_exclusive_by_x", max_workers=1, exclusive=["x"])
def exclusive_by_x(x: int, y: int):
    pass


@job("submission_not_allowed", max_workers=1)
def not_allowed():
    pass


def undecorated():
    pass


def a_nested_job():
    @job("submission_plain", max_workers=1)
    def nested():
        pass

    return nested


class TerseExecutor(AbstractJobExecutor):
    """A backend written for 3.18: it knows nothing of extra environment variables."""

    def submit_job(self, job_id, job_name, fn_fullname, params, context, python_env=None, **_):
        raise NotImplementedError

    def wait_for_job(self, job_id):
        raise NotImplementedError

    def cancel_job(self, job_id):
        raise NotImplementedError

    def recover_jobs(self, unfinished_job_ids):
        return []


@pytest.fixture(autouse=True)
def server(database_uri, monkeypatch):
    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", database_uri)
    monkeypatch.setenv("MLFLOW_CRYPTO_KEK_PASSPHRASE", "a passphrase of this test")
    monkeypatch.setenv("_MLFLOW_SERVER_BOOT_ID", uuid.uuid4().hex)
    monkeypatch.setattr(handlers, "_job_store", None)
    monkeypatch.setattr(executor_registry, "_registry", None)
    _ALLOWED_JOB_NAME_LIST.extend(JOB_NAMES)
    yield
    for name in JOB_NAMES:
        _ALLOWED_JOB_NAME_LIST.remove(name)


@pytest.fixture
def woken():
    """An event that is set when this replica's runner is woken."""
    event = threading.Event()
    listener = LocalSocketReceiver(socket_path())
    listener.start(lambda *_: event.set())
    yield event
    listener.stop()


@pytest.fixture
def terse_backend(monkeypatch):
    registry = JobExecutorRegistry()
    registry.register("local", TerseExecutor(JobExecutorConfig(default_timeout=120.0)))
    monkeypatch.setattr(executor_registry, "_registry", registry)


@pytest.fixture
def term(database_uri):
    return handlers._get_job_store().acquire_scheduler_lease("scheduler", "a", 100_000)


def row_of(job_id: str) -> dict:
    with handlers._get_job_store().engine.connect() as connection:
        row = connection.execute(sa.text("SELECT * FROM jobs WHERE id = :id"), {"id": job_id})
        return dict(row.one()._mapping)


def count_of_rows() -> int:
    with handlers._get_job_store().engine.connect() as connection:
        return connection.execute(sa.text("SELECT count(*) FROM jobs")).scalar_one()


def test_a_submission_becomes_a_pending_row_with_its_backend():
    submitted = submit_job(plain, {"x": 1, "y": "a"}, timeout=30, creator="alice")

    found = get_job(submitted.job_id)
    assert found.status is JobStatus.PENDING
    assert found.job_name == "submission_plain"
    assert found.params == '{"x": 1, "y": "a"}'
    assert found.timeout == 30
    assert found.creator == "alice"
    assert found.executor_backend == "local"
    assert found.retry_count == 0


def test_a_job_that_is_not_exclusive_gets_no_timeout_and_no_lock():
    row = row_of(submit_job(plain, {"x": 1}).job_id)
    assert row["timeout"] is None
    assert row["lock_key"] is None


def test_an_exclusive_job_gets_its_lock_key_and_the_backends_default_timeout():
    row = row_of(submit_job(exclusive, {"x": 1}).job_id)
    assert row["timeout"] == 3600
    assert row["lock_key"] == lock_key("submission_exclusive", {"x": 1}, True, None)


def test_an_exclusive_job_takes_the_timeout_of_its_own_backend(terse_backend):
    assert row_of(submit_job(exclusive, {"x": 1}).job_id)["timeout"] == 120


def test_an_exclusive_job_keeps_the_timeout_it_was_submitted_with():
    assert row_of(submit_job(exclusive, {"x": 1}, timeout=7.5).job_id)["timeout"] == 7.5


def test_the_lock_key_counts_only_the_parameters_that_the_job_names():
    one, same, other = (
        row_of(submit_job(exclusive_by_x, {"x": x, "y": y}).job_id)["lock_key"]
        for x, y in [(1, 1), (1, 2), (2, 1)]
    )
    assert one == same != other


def test_the_creator_is_by_default_the_user_of_the_request():
    with flask.Flask("test").test_request_context():
        flask.g.mlflow_authenticated_user = "bob"
        assert submit_job(plain, {"x": 1}).creator == "bob"
        assert submit_job(plain, {"x": 1}, creator="alice").creator == "alice"
    assert submit_job(plain, {"x": 1}).creator is None


def test_extra_envs_are_stored_sealed_for_this_job():
    job_id = submit_job(plain, {"x": 1}, extra_envs={"API_KEY": "sk-secret"}).job_id
    row = row_of(job_id)
    assert "sk-secret" not in str(row)
    assert open_sealed(job_id, row["sealed_environment"]) == {"API_KEY": "sk-secret"}


@pytest.mark.parametrize("extra_envs", [None, {}])
def test_without_extra_envs_nothing_is_sealed(extra_envs):
    assert (
        row_of(submit_job(plain, {"x": 1}, extra_envs=extra_envs).job_id)["sealed_environment"]
        is None
    )


def test_extra_envs_are_refused_by_name_where_the_backend_would_lose_them(terse_backend):
    before = count_of_rows()
    with pytest.raises(MlflowException, match="^extra_envs: .*'local'") as refused:
        submit_job(plain, {"x": 1}, extra_envs={"API_KEY": "sk-secret"})
    assert refused.value.get_http_status_code() == 400
    assert "sk-secret" not in refused.value.message
    assert count_of_rows() == before


@pytest.mark.parametrize(
    ("submission", "status", "message"),
    [
        ({"function": lambda: None}, 500, "not decorated"),
        ({"function": undecorated}, 500, "undecorated .*not decorated"),
        ({"function": a_nested_job()}, 500, "top of a module"),
        ({"function": int}, 500, "top of a module"),
        ({"function": "a.b"}, 500, "top of a module"),
        ({"function": not_allowed, "params": {}}, 400, "^job_name: 'submission_not_allowed'"),
        ({"params": [1]}, 400, "^params: must be a JSON object"),
        ({"params": {}}, 400, "^params.x: is required"),
        ({"params": {"x": 1, "z": 1}}, 400, "^params.z: is not a parameter"),
        ({"params": {"x": "1"}}, 400, "^params.x: must be int"),
        ({"timeout": 0}, 400, "^timeout: "),
        ({"extra_envs": {"A": 1}}, 400, r"^extra_envs\['A'\]: "),
    ],
)
def test_a_refused_submission_says_why_and_leaves_no_row(submission, status, message):
    before = count_of_rows()
    with pytest.raises(MlflowException, match=message) as refused:
        submit_job(**{"function": plain, "params": {"x": 1}, **submission})
    assert refused.value.get_http_status_code() == status
    assert count_of_rows() == before


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"),
        ("_MLFLOW_SERVER_FILE_STORE", None, "--backend-store-uri"),
        ("_MLFLOW_SERVER_FILE_STORE", "./mlruns", "another kind of store"),
    ],
)
def test_a_server_without_jobs_says_so_before_it_looks_at_the_submission(
    monkeypatch, variable, value, message
):
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)
    with pytest.raises(MlflowException, match=message) as refused:
        submit_job(undecorated, {"no": "parameter"})
    assert refused.value.get_http_status_code() == 500


def test_a_password_in_the_store_uri_is_not_in_the_message(monkeypatch):
    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", "redis://user:hunter2@host/0")
    with pytest.raises(MlflowException, match="another kind of store") as refused:
        submit_job(plain, {"x": 1})
    assert "hunter2" not in refused.value.message


def test_a_submission_wakes_the_runner(woken):
    submit_job(plain, {"x": 1})
    assert woken.wait(timeout=10)


def test_a_cancellation_wakes_the_runner(woken):
    job_id = submit_job(plain, {"x": 1}).job_id
    assert woken.wait(timeout=10)
    woken.clear()
    assert cancel_job(job_id).status is JobStatus.CANCELED
    assert woken.wait(timeout=10)


def test_a_submission_without_a_listening_runner_is_stored_all_the_same():
    assert get_job(submit_job(plain, {"x": 1}).job_id).status is JobStatus.PENDING


@pytest.mark.parametrize("verb", [get_job, cancel_job])
@pytest.mark.parametrize("job_id", ["no-such-id", "", "a\x00b", "\ud800", "x" * 5000])
def test_an_unknown_id_is_a_404(verb, job_id):
    with pytest.raises(JobNotFound) as refused:
        verb(job_id)
    assert refused.value.get_http_status_code() == 404


def test_a_job_that_has_ended_cannot_be_canceled():
    job_id = submit_job(plain, {"x": 1}).job_id
    cancel_job(job_id)
    with pytest.raises(MlflowException, match="CANCELED") as refused:
        cancel_job(job_id)
    assert refused.value.get_http_status_code() == 400


def test_a_workspace_sees_its_own_jobs_only_and_has_its_own_locks(monkeypatch):
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    try:
        set_server_request_workspace("red")
        red = submit_job(exclusive, {"x": 1})
        set_server_request_workspace("blue")
        blue = submit_job(exclusive, {"x": 1})
        with pytest.raises(JobNotFound):
            get_job(red.job_id)
        assert get_job(blue.job_id).workspace == "blue"
    finally:
        clear_server_request_workspace()
    assert row_of(red.job_id)["lock_key"].startswith("red:submission_exclusive:")
    assert row_of(blue.job_id)["lock_key"].startswith("blue:submission_exclusive:")


def test_i06_what_the_leader_submits_is_stored_while_its_term_lasts(term):
    with submitting_under(term):
        submit_job(plain, {"x": 1})
        handlers._get_job_store().release_scheduler_lease(term)
        with pytest.raises(LeadershipLost):
            submit_job(plain, {"x": 2})
    submit_job(plain, {"x": 3})
    assert count_of_rows() == 2


def test_the_leader_submits_no_second_job_of_a_lock_key_and_a_user_may(term):
    with submitting_under(term):
        submit_job(exclusive, {"x": 1})
        with pytest.raises(MlflowException, match="submission_exclusive of the same lock key"):
            submit_job(exclusive, {"x": 1})
    submit_job(exclusive, {"x": 1})
    assert count_of_rows() == 2
