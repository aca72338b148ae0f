"""An ended job is submitted again: the same work, as a new job, through the same checks."""

import json
import threading

import pytest
import sqlalchemy as sa

from mlflow.entities._job_status import JobStatus
from mlflow.exceptions import MlflowException
from mlflow.server import handlers
from mlflow.server.jobs import cancel_job, executor_registry, functions, job, submit_job
from mlflow.server.jobs.resubmission import resubmit_job
from mlflow.server.jobs.wakeups.local_socket import LocalSocketReceiver, socket_path
from mlflow.store.jobs import tables
from mlflow.store.jobs.errors import JobNotFound

NAMES = {"resubmission_plain": "plain", "resubmission_exclusive": "exclusive"}


@job("resubmission_plain", max_workers=1)
def plain(x: int):
    pass


@job("resubmission_exclusive", max_workers=1, exclusive=True)
def exclusive(x: int):
    pass


@pytest.fixture(autouse=True)
def server(database_uri, monkeypatch):
    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", database_uri)
    monkeypatch.setenv("_MLFLOW_SERVER_BOOT_ID", "resubmission")
    monkeypatch.setenv("MLFLOW_CRYPTO_KEK_PASSPHRASE", "a passphrase of this test")
    monkeypatch.setattr(handlers, "_job_store", None)
    monkeypatch.setattr(executor_registry, "_registry", None)
    monkeypatch.setattr(functions, "_ALLOWED_JOB_NAME_LIST", [*NAMES])
    monkeypatch.setattr(
        "mlflow.server.jobs.submission._ALLOWED_JOB_NAME_LIST", functions._ALLOWED_JOB_NAME_LIST
    )
    for name, function in NAMES.items():
        monkeypatch.setitem(
            functions._job_name_to_fn_fullname_map, name, f"{plain.__module__}.{function}"
        )


@pytest.fixture
def ended():
    """Submit a job and let it end; answers it."""

    def end(function=plain, **submission):
        return cancel_job(submit_job(function, {"x": 1}, **submission).job_id)

    return end


def row_of(job_id: str):
    with handlers._get_job_store().engine.connect() as connection:
        return connection.execute(sa.select(tables.jobs).where(tables.jobs.c.id == job_id)).one()


def count_of_rows() -> int:
    with handlers._get_job_store().engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(tables.jobs)).scalar_one()


def change(job_id: str, **values) -> None:
    with handlers._get_job_store().engine.begin() as connection:
        connection.execute(tables.jobs.update().where(tables.jobs.c.id == job_id).values(**values))


def test_the_same_work_is_a_new_job_of_the_same_creator(ended):
    first = ended(creator="ann", timeout=7.0)
    change(first.job_id, recovery_count=3, retry_count=2, fence=9)

    again = resubmit_job(first.job_id)

    assert again.job_id != first.job_id
    assert (again.status, again.creator, again.timeout) == (JobStatus.PENDING, "ann", 7.0)
    assert (again.job_name, json.loads(again.params)) == ("resubmission_plain", {"x": 1})
    row = row_of(again.job_id)
    assert (row.executor_backend, row.recovery_count, row.retry_count, row.fence) == (
        "local",
        0,
        0,
        0,
    )
    assert row_of(first.job_id).status == JobStatus.CANCELED.to_int()


def test_an_exclusive_job_is_exclusive_again(ended):
    first = ended(exclusive)

    again = resubmit_job(first.job_id)

    assert row_of(again.job_id).lock_key == row_of(first.job_id).lock_key is not None
    assert again.timeout == first.timeout is not None


def test_a_resubmission_wakes_the_runner(ended):
    job_id = ended().job_id
    woken = threading.Event()
    receiver = LocalSocketReceiver(socket_path())
    receiver.start(lambda *_: woken.set())
    try:
        resubmit_job(job_id)
        assert woken.wait(timeout=10)
    finally:
        receiver.stop()


def test_a_job_that_has_not_ended_is_refused():
    job_id = submit_job(plain, {"x": 1}).job_id

    with pytest.raises(MlflowException, match="is PENDING; it is not possible to resubmit") as no:
        resubmit_job(job_id)

    assert no.value.get_http_status_code() == 400
    assert count_of_rows() == 1


def test_a_job_that_waits_for_recovery_is_shown_as_running_here_too():
    job_id = submit_job(plain, {"x": 1}).job_id
    change(job_id, status=JobStatus.NEEDS_RECOVERY.to_int())

    with pytest.raises(MlflowException, match="is RUNNING"):
        resubmit_job(job_id)


def test_a_job_with_credentials_of_its_own_is_refused_and_not_run_without_them(ended):
    job_id = ended(extra_envs={"API_KEY": "secret"}).job_id
    assert row_of(job_id).sealed_environment is None

    with pytest.raises(MlflowException, match="^extra_envs: .* erased") as no:
        resubmit_job(job_id)

    assert no.value.get_http_status_code() == 400
    assert count_of_rows() == 1


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("params", '{"x": 1, "y": 1}', "^params.y: "),
        ("params", "[]", "^params: "),
        ("params", "{", "^params: "),
        ("timeout", -1.0, "^timeout: "),
        ("job_name", "no_such_job", "no_such_job"),
    ],
)
def test_what_a_submission_refuses_is_refused_here_too(ended, column, value, message):
    job_id = ended().job_id
    change(job_id, **{column: value})

    with pytest.raises(MlflowException, match=message) as no:
        resubmit_job(job_id)

    assert no.value.get_http_status_code() == 400
    assert count_of_rows() == 1


def test_a_job_that_may_not_be_run_here_any_more_is_refused(ended):
    job_id = ended().job_id
    functions._ALLOWED_JOB_NAME_LIST.remove("resubmission_plain")

    with pytest.raises(MlflowException, match="may not be run on this server"):
        resubmit_job(job_id)


@pytest.mark.parametrize("job_id", ["no-such-id", "a\x00b", "\ud800"])
def test_an_unknown_id_is_a_404(job_id):
    with pytest.raises(JobNotFound):
        resubmit_job(job_id)
