"""What clients are shown of rows that no runner of this test touches."""

import json
import socket
import threading
from typing import Any

import pytest
import requests
import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI

from mlflow.entities._job import JobProgress
from mlflow.entities._job_status import JobStatus
from mlflow.server import app as flask_app
from mlflow.server import handlers, job_api
from mlflow.server.job_api import Job, job_api_router
from mlflow.server.jobs.functions import _job_name_to_fn_fullname_map, job
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore

JOB_NAME = "shown"


@job("optimize_prompts", max_workers=1)
def submitted():
    """Takes the place of a job function of the server; nobody runs its jobs here."""


@pytest.fixture(scope="module")
def jobs_url():
    """The router alone, as the server mounts it below an auth app that knows one user."""
    app = FastAPI()
    app.include_router(job_api_router)

    @app.middleware("http")
    async def authenticate(request, call_next):
        if user := request.headers.get("X-User"):
            request.state.username = user
        return await call_next(request)

    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, args=([listening],), name="job-api", daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/ajax-api/3.0/jobs"
    server.should_exit = True
    thread.join(timeout=30)


@pytest.fixture
def store(job_store, database_uri, monkeypatch) -> SqlAlchemyJobStore:
    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", database_uri)
    monkeypatch.setattr(handlers, "_job_store", None)
    return job_store


def get(url: str) -> dict[str, Any]:
    response = requests.get(url, timeout=30)
    assert response.status_code == 200, response.text
    return response.json()


def search(jobs_url: str, **criteria: Any) -> dict[str, Any]:
    response = requests.post(f"{jobs_url}/search", json=criteria, timeout=30)
    assert response.status_code == 200, response.text
    return response.json()


def ids(page: dict[str, Any]) -> list[str]:
    return [found["job_id"] for found in page["jobs"]]


def test_a_job_that_waits_for_recovery_is_shown_as_running(store, jobs_url, claim_one):
    claim = claim_one().claim
    job_id = claim.job_id
    assert store.abandon([claim]) == 1
    assert store.get_job(job_id).status is JobStatus.NEEDS_RECOVERY

    assert get(f"{jobs_url}/{job_id}")["status"] == "RUNNING"
    assert ids(search(jobs_url, statuses=["RUNNING"])) == [job_id]
    assert ids(search(jobs_url, statuses=["NEEDS_RECOVERY"])) == [job_id]
    assert ids(search(jobs_url, statuses=["PENDING"])) == []
    panel = flask_app.test_client().get(f"/ajax-api/3.0/mlflow/jobs/{job_id}")
    assert panel.get_json()["status"] == "RUNNING"


def test_progress_is_shown_while_a_job_runs(store, jobs_url, claim_one):
    claim = claim_one().claim
    progress = JobProgress(phase="scoring", completed=3, total=10, unit="traces")
    store.update_job_progress(claim.job_id, "3 of 10", progress, fence=claim.fence)
    store.update_status_details(claim.job_id, {"stage": "scoring"}, fence=claim.fence)

    shown = get(f"{jobs_url}/{claim.job_id}")

    assert shown["status"] == "RUNNING"
    assert shown["status_message"] == "3 of 10"
    assert shown["progress"] == {
        "phase": "scoring",
        "completed": 3,
        "total": 10,
        "unit": "traces",
    }
    assert shown["progress_updated_at"] > 0
    assert shown["status_details"] == {"stage": "scoring"}


@pytest.mark.parametrize(
    ("result", "shown"),
    [(None, None), ("null", None), ('{"a": [1]}', {"a": [1]}), ('"text"', "text"), ("0", 0)],
)
def test_the_result_of_a_success_is_shown_as_a_value(store, jobs_url, claim_one, result, shown):
    claim = claim_one().claim
    store.succeed(claim, result)
    found = get(f"{jobs_url}/{claim.job_id}")
    assert found["result"] == shown
    assert found["error_message"] is None


def test_the_error_of_a_failure_is_shown_in_both_fields(store, jobs_url, claim_one):
    claim = claim_one().claim
    store.fail(claim, "null")
    found = get(f"{jobs_url}/{claim.job_id}")
    assert found["result"] == found["error_message"] == "null"


def test_the_user_of_the_request_becomes_the_creator(store, jobs_url, monkeypatch):
    name = submitted._job_fn_metadata.name
    monkeypatch.setitem(_job_name_to_fn_fullname_map, name, f"{__name__}.submitted")
    body = {"job_name": name, "params": {}}
    ours = requests.post(jobs_url, json=body, headers={"X-User": "alice"}, timeout=30).json()
    nobodys = requests.post(jobs_url, json=body, timeout=30).json()
    assert (ours["creator"], nobodys["creator"]) == ("alice", None)
    assert ours["job_id"] in ids(search(jobs_url, creator="alice"))
    assert nobodys["job_id"] not in ids(search(jobs_url, creator="alice"))


def test_a_search_finds_by_every_criterion_oldest_first(store, jobs_url, claim_one):
    failed = claim_one("other", params={"note": "a"}).claim
    store.fail(failed, "why")
    first, second = (
        store.create_job(JOB_NAME, json.dumps({"note": "a", "x": x}), creator=creator).job_id
        for x, creator in [(1, "alice"), (2, "bob")]
    )
    # Rows of one millisecond are in the order of their ids.
    with store.engine.begin() as connection:
        for job_id, created in [(failed.job_id, 1000), (first, 2000), (second, 3000)]:
            connection.execute(
                sa.text("UPDATE jobs SET creation_time = :created WHERE id = :id"),
                {"created": created, "id": job_id},
            )

    def found(**criteria: Any) -> list[str]:
        return ids(search(jobs_url, **criteria))

    assert found() == [failed.job_id, first, second]
    assert found(params={"note": "a"}) == [failed.job_id, first, second]
    assert found(params={"note": "a", "x": 2}) == [second]
    assert found(params={"note": "b"}) == []
    assert found(job_name="other") == [failed.job_id]
    assert found(job_name="nothing") == []
    assert found(statuses=["FAILED"]) == [failed.job_id]
    assert found(statuses=["PENDING", "FAILED"]) == [failed.job_id, first, second]
    assert found(statuses=[]) == [failed.job_id, first, second]
    assert found(statuses=["TIMEOUT"]) == []
    assert found(creator="bob") == [second]
    assert found(begin_timestamp=2000) == [first, second]
    assert found(end_timestamp=2000) == [failed.job_id, first]


def test_a_search_is_paged_without_losing_or_repeating_a_job(store, jobs_url):
    created = [store.create_job(JOB_NAME, "{}").job_id for _ in range(7)]

    pages, token = [], None
    while not pages or token is not None:
        page = search(jobs_url, max_results=3, page_token=token)
        pages.append(ids(page))
        token = page["next_page_token"]

    assert [len(page) for page in pages] in ([3, 3, 1], [3, 3, 1, 0])
    assert sorted(job_id for page in pages for job_id in page) == sorted(created)


def test_a_search_without_pages_gives_every_job(store, jobs_url, monkeypatch):
    monkeypatch.setattr(job_api, "_STORE_PAGE", 2)
    created = [store.create_job(JOB_NAME, "{}").job_id for _ in range(5)]
    page = search(jobs_url)
    assert sorted(ids(page)) == sorted(created)
    assert page["next_page_token"] is None


def test_a_search_without_pages_is_bounded_and_can_be_continued(store, jobs_url, monkeypatch):
    monkeypatch.setattr(job_api, "DEFAULT_MAX_RESULTS", 3)
    created = [store.create_job(JOB_NAME, "{}").job_id for _ in range(5)]
    first = search(jobs_url)
    second = search(jobs_url, page_token=first["next_page_token"])
    assert len(ids(first)) == 3
    assert sorted(ids(first) + ids(second)) == sorted(created)
    assert second["next_page_token"] is None


@pytest.mark.parametrize(
    ("text", "params", "result"),
    [
        ('{"x": NaN}', {"x": None}, {"x": None}),
        ('{"x": "\\ud800"}', {"x": "\\ud800"}, {"x": "\\ud800"}),
        ("[1]", {}, [1]),
        ("not json", {}, "not json"),
    ],
)
def test_a_row_that_holds_what_json_cannot_carry_is_shown_all_the_same(
    store, jobs_url, text, params, result
):
    job_id = write_elsewhere(store, text)
    found = get(f"{jobs_url}/{job_id}")
    assert (found["params"], found["result"]) == (params, result)
    assert search(jobs_url)["jobs"] == [found]
    assert search(jobs_url, params={"y": 1})["jobs"] == []
    # Not every release of FastAPI replaces what JSON has no word for.
    assert Job.from_job_entity(store.get_job(job_id)).params == params


@pytest.mark.parametrize("depth", [400, 5000])
def test_a_row_that_is_nested_too_deep_to_be_shown_hides_no_other(store, jobs_url, depth):
    deep = write_elsewhere(store, '{"x": %s}' % ("[" * depth + "]" * depth))
    other = store.create_job(JOB_NAME, "{}").job_id
    assert get(f"{jobs_url}/{deep}")["status"] == "SUCCEEDED"
    assert sorted(ids(search(jobs_url))) == sorted([deep, other])
    assert ids(search(jobs_url, params={"y": 1})) == []


@pytest.mark.parametrize(
    ("column", "value", "field", "shown"),
    [
        ("timeout", float("inf"), "timeout", None),
        ("timeout", 1e300, "timeout", 1e300),
        ("progress", '{"completed": "many", "total": 4}', "progress", (None, 4)),
        ("progress", '{"completed": 1e999}', "progress", (None, None)),
    ],
)
def test_a_value_that_our_own_store_refuses_hides_neither_its_row_nor_another(
    store, jobs_url, column, value, field, shown
):
    bad, good = (store.create_job(JOB_NAME, "{}").job_id for _ in range(2))
    with store.engine.begin() as connection:
        connection.execute(
            sa.text(f"UPDATE jobs SET {column} = :value WHERE id = :id"),
            {"value": value, "id": bad},
        )

    assert Job.from_job_entity(store.get_job(bad)).timeout != float("inf")
    found = get(f"{jobs_url}/{bad}")[field]
    if field == "progress":
        found = (found["completed"], found["total"])
    assert found == shown
    assert sorted(ids(search(jobs_url))) == sorted([bad, good])


def test_an_ended_job_is_submitted_again_by_one_call(store, jobs_url, claim_one, monkeypatch):
    monkeypatch.setitem(
        _job_name_to_fn_fullname_map, "optimize_prompts", f"{submitted.__module__}.submitted"
    )
    claim = claim_one("optimize_prompts", creator="ann").claim
    url = f"{jobs_url}/{claim.job_id}/resubmit"
    refused = requests.post(url, timeout=30)
    store.fail(claim, "poison")

    answer = requests.post(url, headers={"X-User": "admin"}, timeout=30)

    assert (refused.status_code, answer.status_code) == (400, 200), answer.text
    again = answer.json()
    assert (again["status"], again["creator"]) == ("PENDING", "ann")
    assert again["job_id"] != claim.job_id
    assert get(f"{jobs_url}/{again['job_id']}") == again
    assert requests.post(f"{jobs_url}/no-such-id/resubmit", timeout=30).status_code == 404


def test_the_crashes_of_a_job_are_shown(store, jobs_url, claim_one, term):
    claim = claim_one().claim
    store.abandon([claim], lost=True)
    [candidate] = store.recovery_candidates()
    store.requeue(candidate, term, 0, "killed")

    shown = get(f"{jobs_url}/{claim.job_id}")

    assert shown["status"] == "FAILED"
    assert shown["error_message"].startswith("Its runner or process died once while it ran: on a,")
    [crash] = shown["crashes"]
    assert (crash["replica"], crash["fence"], crash["reason"]) == ("a", 1, "killed")
    assert crash["seen_at"] == candidate.crashed_at


def write_elsewhere(store: SqlAlchemyJobStore, text: str) -> str:
    """A job that another release may have written; our own store refuses such texts."""
    job_id = store.create_job(JOB_NAME, "{}").job_id
    with store.engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE jobs SET params = :text, result = :text, status = 2 WHERE id = :id"),
            {"text": text, "id": job_id},
        )
    return job_id
