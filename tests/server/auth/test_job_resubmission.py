"""Who may submit a job again: whoever may submit any job by its name, so administrators only."""

import asyncio

import pytest

from mlflow.server import auth, handlers
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore

JOBS = "/ajax-api/3.0/jobs"


@pytest.fixture
def job_id(tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", uri)
    monkeypatch.setattr(handlers, "_job_store", None)
    return SqlAlchemyJobStore(uri).create_job("job", "{}", creator="ann").job_id


def may(user: str, method: str, path: str) -> bool:
    return asyncio.run(auth._find_fastapi_validator(path, method)(user, None))


def test_its_creator_may_read_a_job_but_not_submit_it_again_nor_any_other(job_id):
    assert may("ann", "GET", f"{JOBS}/{job_id}")
    assert not may("ann", "POST", JOBS)
    assert not may("ann", "POST", f"{JOBS}/{job_id}/resubmit")
    assert not may("ann", "POST", f"{JOBS}/{job_id}/resubmit/")
    assert not may("bob", "POST", f"{JOBS}/{job_id}/resubmit")
