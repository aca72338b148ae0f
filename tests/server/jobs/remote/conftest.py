"""A job of a remote backend under a live claim, and the routes that its workload reports to."""

import socket
import threading

import pytest
import requests
import uvicorn
from fastapi import FastAPI

from mlflow.server.jobs.remote import fastapi_hook, report_api
from mlflow.store.jobs.values import ClaimedJob
from tests.server.jobs.fakes import LEASE_SECONDS


@pytest.fixture
def claim_remote(job_store, make_pending):
    """Store a job of backend `ray` and claim it with its token."""

    def claim(job_name: str = "sample", **fields) -> ClaimedJob:
        make_pending(job_name, executor_backend="ray", **fields)
        return reclaim_remote(job_store, job_name)

    return claim


def reclaim_remote(store, job_name: str = "sample", replica: str = "a") -> ClaimedJob:
    """Claim the only due job of backend `ray`."""
    [job] = store.claim_batch(
        replica, ["ray"], {job_name: 1}, LEASE_SECONDS, lambda *_: None, token_backends=["ray"]
    ).claimed
    return job


@pytest.fixture(scope="session")
def reports_url():
    """The routes for reports, guarded as in the server."""
    app = FastAPI()
    fastapi_hook.add_job_token_middleware(app)
    app.include_router(report_api.job_report_router)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, args=([listening],), name="reports", daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=30)


@pytest.fixture
def post(reports_url, job_store, monkeypatch):
    """Post to a path; answers the response."""
    for module in (fastapi_hook, report_api):
        monkeypatch.setattr(module, "_get_job_store", lambda: job_store)

    def post(path: str, body, headers=None) -> requests.Response:
        return requests.post(reports_url + path, json=body, headers=headers, timeout=30)

    return post


@pytest.fixture
def send(post):
    """Report to a route of a job, with its token; answers the response."""

    def send(job: ClaimedJob, what: str, body, prefix: str = "/api") -> requests.Response:
        headers = {"X-MLflow-Job-Id": job.claim.job_id, "X-MLflow-Job-Token": job.token}
        return post(f"{prefix}/3.0/jobs/{job.claim.job_id}/{what}", body, headers)

    return send
