"""What a remote workload reports over HTTP, and what it is answered."""

import json

import pytest
import sqlalchemy

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import tables
from tests.server.jobs.fakes import pass_lease
from tests.server.jobs.remote.conftest import reclaim_remote

SUCCESS = {"status": "SUCCEEDED", "result": '{"a": 1}'}
FAILURE = {"status": "FAILED", "error_message": "broken"}
TRANSIENT = {"status": "FAILED", "error_message": "away", "is_transient_error": True}
TAG = "mlflow.latestOnlineScoring.trace.checkpoint"


@pytest.mark.parametrize("prefix", ["/api", "/ajax-api"])
@pytest.mark.parametrize(
    ("report", "status", "error"),
    [
        (SUCCESS, JobStatus.SUCCEEDED, None),
        ({"status": "SUCCEEDED"}, JobStatus.SUCCEEDED, None),
        (FAILURE, JobStatus.FAILED, "broken"),
        ({"status": "TIMEOUT", "error_message": "late"}, JobStatus.TIMEOUT, "late"),
    ],
)
def test_a_report_ends_the_job(job_store, claim_remote, send, prefix, report, status, error):
    job = claim_remote()
    answer = send(job, "result", report, prefix)

    assert (answer.status_code, answer.json()["status"]) == (200, str(status))
    row = job_store.get_job(job.claim.job_id)
    assert (row.status, row.result) == (status, report.get("result", error))


@pytest.mark.parametrize("report", [SUCCESS, FAILURE, TRANSIENT], ids=["T5", "T6", "T7"])
def test_the_same_report_again_changes_nothing(job_store, claim_remote, send, report):
    job = claim_remote()
    assert send(job, "result", report).status_code == 200
    before = job_store.get_job(job.claim.job_id)

    assert send(job, "result", report).status_code == 200
    after = job_store.get_job(job.claim.job_id)
    assert vars(after) == vars(before)


@pytest.mark.parametrize("first", [SUCCESS, FAILURE, TRANSIENT], ids=["T5", "T6", "T7"])
@pytest.mark.parametrize(
    "second", [{"status": "SUCCEEDED", "result": "2"}, {"status": "TIMEOUT"}], ids=["T5", "T6"]
)
def test_another_report_is_a_conflict_and_changes_nothing(
    job_store, claim_remote, send, first, second
):
    job = claim_remote()
    send(job, "result", first)
    before = job_store.get_job(job.claim.job_id)

    assert send(job, "result", second).status_code == 409
    assert vars(job_store.get_job(job.claim.job_id)) == vars(before)


def test_a_report_about_a_canceled_job_is_a_conflict(job_store, claim_remote, send):
    job = claim_remote()
    job_store.cancel_job(job.claim.job_id)
    answer = send(job, "result", SUCCESS)
    assert answer.status_code == 409
    assert "CANCELED" in answer.json()["detail"]
    assert job_store.get_job(job.claim.job_id).status is JobStatus.CANCELED


def test_transient_failures_are_retried_as_often_as_those_of_local_jobs(
    job_store, claim_remote, send, monkeypatch
):
    monkeypatch.setenv("MLFLOW_SERVER_JOB_TRANSIENT_ERROR_MAX_RETRIES", "1")
    first = claim_remote()
    assert send(first, "result", TRANSIENT).json()["status"] == "PENDING"
    pass_lease(job_store)
    second = reclaim_remote(job_store)
    assert send(first, "result", TRANSIENT).status_code == 401
    assert send(second, "result", TRANSIENT).json()["status"] == "FAILED"
    row = job_store.get_job(first.claim.job_id)
    assert (row.retry_count, row.status) == (1, JobStatus.FAILED)
    assert send(second, "result", TRANSIENT).status_code == 200


def test_success_moves_the_checkpoint_that_the_job_carries(job_store, claim_remote, send):
    with job_store.engine.begin() as connection:
        connection.execute(
            sqlalchemy.text(
                "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, "
                "creation_time, last_update_time) VALUES (7, 'seven', 'x', 'active', 1, 1)"
            )
        )
    value = {"timestamp_ms": 5, "trace_id": "tr-5"}
    move = {"experiment_id": "7", "tag": TAG, "value": value}
    params = {"experiment_id": "7", "next_checkpoint": move}
    failed = claim_remote("run_online_trace_scorer", params=params)
    send(failed, "result", FAILURE)
    assert _tags(job_store) == {}
    job = claim_remote("run_online_trace_scorer", params=params)
    assert send(job, "result", SUCCESS).status_code == 200
    assert {key: json.loads(text) for key, text in _tags(job_store).items()} == {TAG: value}


def _tags(store) -> dict[str, str]:
    with store.engine.connect() as connection:
        rows = connection.execute(sqlalchemy.select(tables.experiment_tags)).all()
    return {row.key: row.value for row in rows}


BAD_RESULTS = {
    "no status": ({}, 422, "status"),
    "an unknown status": ({"status": "DONE"}, 422, "status"),
    "an unfinished status": ({"status": "PENDING"}, 422, "status"),
    "a status of the user's": ({"status": "CANCELED"}, 422, "status"),
    "a result that is no text": ({"status": "SUCCEEDED", "result": {"a": 1}}, 422, "result"),
    "a result that is no JSON": ({"status": "SUCCEEDED", "result": "{"}, 400, "result"),
    "a result with NaN": ({"status": "SUCCEEDED", "result": "[NaN]"}, 400, "result"),
    "a result with NUL": ({"status": "SUCCEEDED", "result": '"\\u0000"'}, 400, "result"),
    "a result of a failure": ({"status": "FAILED", "result": "1"}, 400, "result"),
    "an error of a success": (
        {"status": "SUCCEEDED", "error_message": "x"},
        400,
        "error_message",
    ),
    "an error that is no text": ({"status": "FAILED", "error_message": 5}, 422, "error_message"),
    "a transient timeout": (
        {"status": "TIMEOUT", "is_transient_error": True},
        400,
        "is_transient_error",
    ),
    "a transience of no kind": (
        {"status": "FAILED", "is_transient_error": "perhaps"},
        422,
        "is_transient_error",
    ),
    "an unknown field": ({"status": "FAILED", "eror": "x"}, 422, "eror"),
    "no object": ([], 422, "body"),
}


@pytest.mark.parametrize(("body", "status", "field"), BAD_RESULTS.values(), ids=BAD_RESULTS)
def test_a_bad_result_is_refused_by_the_name_of_its_field(
    job_store, claim_remote, send, body, status, field
):
    job = claim_remote()
    answer = send(job, "result", body)
    assert answer.status_code == status, answer.text
    assert field in answer.text
    assert job_store.get_job(job.claim.job_id).status is JobStatus.RUNNING


BAD_PROGRESS = {
    "nothing": ({}, 400, "message"),
    "a message that is no text": ({"message": 5}, 422, "message"),
    "a message that is too long": ({"message": "x" * 40_000}, 400, "message"),
    "a message with NUL": ({"message": "\0"}, 400, "message"),
    "a count that is no number": ({"progress": {"completed": "1"}}, 422, "completed"),
    "a count below zero": ({"progress": {"completed": -1}}, 422, "completed"),
    "a count that is too large": ({"progress": {"total": 2**70}}, 422, "total"),
    "a phase that is too long": ({"progress": {"phase": "x" * 501}}, 422, "phase"),
    "a phase with NUL": ({"progress": {"phase": "\0"}}, 400, "progress.phase"),
    "an unknown part": ({"progress": {"part": 1}}, 422, "part"),
    "details that are no object": ({"status_details": [1]}, 422, "status_details"),
    "details with NUL": ({"status_details": {"a": "\0"}}, 400, "status_details"),
    "details that are too large": (
        {"status_details": {"a": "x" * 1_100_000}},
        400,
        "status_details",
    ),
    "an unknown field": ({"mesage": "x"}, 422, "mesage"),
}


@pytest.mark.parametrize(("body", "status", "field"), BAD_PROGRESS.values(), ids=BAD_PROGRESS)
def test_bad_progress_is_refused_by_the_name_of_its_field(claim_remote, send, body, status, field):
    answer = send(claim_remote(), "progress", body)
    assert answer.status_code == status, answer.text
    assert field in answer.text


def test_progress_is_stored_in_parts(job_store, claim_remote, send):
    job = claim_remote()
    for body in (
        {"message": "half"},
        {"progress": {"phase": "scoring", "completed": 1, "total": 2, "unit": "trace"}},
        {"status_details": {"a": 1}},
        {"status_details": {"b": 2}},
    ):
        assert send(job, "progress", body).status_code == 200
    row = job_store.get_job(job.claim.job_id)
    assert (row.status_message, row.progress.completed) == ("half", 1)
    assert row.status_details == {"a": 1, "b": 2}


def test_progress_after_the_end_is_not_accepted(job_store, claim_remote, send):
    job = claim_remote()
    send(job, "result", SUCCESS)
    assert send(job, "progress", {"message": "late"}).status_code == 401
    assert job_store.get_job(job.claim.job_id).status_message is None


def test_a_report_needs_a_token_even_where_no_user_does(post, claim_remote):
    job = claim_remote()
    for what, body in (("result", SUCCESS), ("progress", {"message": "x"})):
        path = f"/api/3.0/jobs/{job.claim.job_id}/{what}"
        assert post(path, body).status_code == 401


def test_a_token_does_not_report_for_another_job(job_store, post, claim_remote):
    job, other = claim_remote(), claim_remote()
    headers = {"X-MLflow-Job-Id": job.claim.job_id, "X-MLflow-Job-Token": job.token}
    path = f"/api/3.0/jobs/{other.claim.job_id}/result"
    assert post(path, SUCCESS, headers).status_code == 403
    assert job_store.get_job(other.claim.job_id).status is JobStatus.RUNNING
