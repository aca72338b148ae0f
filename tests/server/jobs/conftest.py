"""Fixtures of the jobs server tests."""

import json

import pytest

from mlflow.server.jobs import functions, wiring
from mlflow.server.jobs.errors import ExecutorStopped
from mlflow.server.jobs.executor_registry import JobExecutorRegistry
from mlflow.server.jobs.parts import Parts
from mlflow.server.jobs.settings import JobSettings
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.jobs.values import ClaimedJob
from tests.server.jobs.fakes import PATIENCE_SECONDS, FakeClock, ScriptedExecutor, reclaim
from tests.tracking_databases import copy_of


@pytest.fixture
def database_uri(empty_database, tmp_path):
    return copy_of(empty_database, tmp_path)


@pytest.fixture
def job_store(database_uri):
    store = SqlAlchemyJobStore(database_uri)
    yield store
    store.engine.dispose()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def make_pending(job_store):
    """Store a PENDING job and answer its id."""

    def make(job_name: str = "sample", params: dict | None = None, **fields) -> str:
        return job_store.create_job(job_name, json.dumps(params or {}), **fields).job_id

    return make


@pytest.fixture
def claim_one(job_store, make_pending):
    """Store a job and claim it as replica `a`."""

    def claim(job_name: str = "sample", **fields) -> ClaimedJob:
        make_pending(job_name, **fields)
        return reclaim(job_store, job_name)

    return claim


@pytest.fixture
def executor():
    executor = ScriptedExecutor()
    yield executor
    assert executor.waits == 0, "a job has outlived its test"


@pytest.fixture
def build_parts(job_store, executor, monkeypatch):
    """All parts of a runner that serves `sample_add` on a scripted backend; nothing runs yet.

    It has no periodic tasks: those of a server would look for its tracking store. Jobs that still
    run when the test is over end then, before their database goes.
    """
    monkeypatch.setattr(wiring, "server_tasks", lambda *_: [])
    monkeypatch.setattr(
        functions, "_SUPPORTED_JOB_FUNCTION_LIST", ["tests.server.jobs.sample_jobs.add"]
    )
    monkeypatch.setattr(functions, "_job_name_to_fn_fullname_map", names := {})
    monkeypatch.setattr(wiring, "_job_name_to_fn_fullname_map", names)

    built = []

    def build(clock, replica_id: str = "a", **settings) -> Parts:
        registry = JobExecutorRegistry()
        registry.register("local", executor)
        parts = wiring.build(
            JobSettings(**settings), job_store, registry, "sqlite:///tracking", replica_id, clock
        )
        built.append(parts)
        return parts

    yield build
    for job in [job for parts in built for job in parts.owned.all()]:
        executor.end(job.claim.job_id, ExecutorStopped(job.claim.job_id))
        assert job.gone.wait(PATIENCE_SECONDS)


@pytest.fixture
def term(job_store):
    """A long term of replica `a`."""
    return job_store.acquire_scheduler_lease("mlflow-job-scheduler", "a", 100_000)
