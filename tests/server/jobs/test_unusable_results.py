"""What a job leaves behind that no row can hold: the job fails with a sentence, and nothing else.

Real job processes and the real store; all of them run at once, once.
"""

import json
import threading
from pathlib import Path

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.executor import JobExecutorConfig
from mlflow.server.jobs.functions import JobFunctionMetadata
from mlflow.server.jobs.lifecycle import Lifecycle, Surroundings
from mlflow.server.jobs.local_executor import LocalJobExecutor
from mlflow.server.jobs.outcome import RetryPolicy
from mlflow.server.jobs.owned_jobs import OwnedJobs
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from tests.server.jobs.unusable_jobs import ENDS
from tests.store.jobs.store_factories import change_raw

LEASE_SECONDS = 600.0
PATIENCE_SECONDS = 240.0

SENTENCES = {
    "NaN": "The job function returned a value that is not plain JSON: Out of range float",
    "an infinity": "The job function returned a value that is not plain JSON: Out of range float",
    "an object": "Object of type object is not JSON serializable",
    "bytes": "Object of type bytes is not JSON serializable",
    "a lone surrogate": "The job function returned text with half a surrogate pair.",
    "a NUL": "The job function returned text with a NUL character.",
    "too deep a list": "The job function returned a value that is not plain JSON: maximum",
    "too large a text": "The job's result cannot be stored: `result` takes 34603010 bytes; this "
    "database stores at most 33554432.",
    "exit 0 at once": "ended without a result, as after os._exit(0)",
    "exit 3 at once": "exited with error code 3",
    "SystemExit": "The job function called sys.exit(0) instead of returning.",
    "an endless recursion": "RecursionError",
}
USABLE = {"a plain value": 1, "a thread that never ends": "returned"}
LARGE = "x" * 20_000_000

# Timeouts that stock MLflow takes over HTTP, and the status that they lead to.
TIMEOUTS = {
    float("inf"): JobStatus.SUCCEEDED,
    1e300: JobStatus.SUCCEEDED,
    -1.0: JobStatus.TIMEOUT,
    -float("inf"): JobStatus.TIMEOUT,
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = SqlAlchemyJobStore(f"sqlite:///{tmp_path_factory.mktemp('unusable')}/jobs.db")
    yield store
    store.engine.dispose()


@pytest.fixture(scope="module")
def executor():
    here = str(Path(__file__).parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(here)
        patch.setenv("PYTHONPATH", here)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.delenv("_MLFLOW_SERVER_FILE_STORE", raising=False)
        executor = LocalJobExecutor(JobExecutorConfig())
        executor.start_executor()
        yield executor
        executor.stop_executor()


@pytest.fixture(scope="module")
def ended(store, executor):
    """Every job, by how its function or its timeout was, after its end."""
    submitted = {how: submit(store, how) for how in ENDS}
    submitted |= {timeout: submit(store, "a plain value", timeout=timeout) for timeout in TIMEOUTS}
    submitted["large"] = submit(store, "a plain value", LARGE)
    all_ended = threading.Semaphore(0)
    lifecycle = Lifecycle(
        store,
        OwnedJobs(Clock()),
        {None: executor},
        Clock(),
        Surroundings("sqlite:///tracking", None, False, 3600.0, RetryPolicy(3, 1.0, 2.0)),
        lambda name: JobFunctionMetadata(name, "unusable_jobs.end", 20),
        lambda job, written: all_ended.release(),
        store.succeed_all,
    )
    batch = store.claim_batch(
        "a", [None], {"unusable": len(submitted)}, LEASE_SECONDS, lambda *facts: None
    )
    for job in batch.claimed:
        lifecycle.start([job], Clock().monotonic() + LEASE_SECONDS)
    for _ in submitted:
        assert all_ended.acquire(timeout=PATIENCE_SECONDS)
    return {how: store.get_job(job_id) for how, job_id in submitted.items()}


def submit(store, how, note=None, **raw):
    job_id = store.create_job("unusable", json.dumps({"how": how, "note": note})).job_id
    if raw:
        change_raw(store, job_id, **raw)
    return job_id


@pytest.mark.parametrize("how", SENTENCES)
def test_a_job_without_a_usable_result_fails_with_a_sentence_and_is_not_retried(ended, how):
    job = ended[how]
    assert job.status is JobStatus.FAILED
    assert SENTENCES[how] in job.error_message
    assert len(job.error_message) < 5000
    assert job.retry_count == 0


@pytest.mark.parametrize("how", USABLE)
def test_a_result_that_is_usable_decides_whatever_else_goes_on(ended, how):
    job = ended[how]
    assert (job.status, job.parsed_result) == (JobStatus.SUCCEEDED, USABLE[how])


def test_params_and_a_result_of_twenty_megabytes_pass(ended):
    assert ended["large"].status is JobStatus.SUCCEEDED
    assert ended["large"].parsed_result == LARGE


@pytest.mark.parametrize("timeout", TIMEOUTS)
def test_a_timeout_that_no_clock_can_wait_for_neither_breaks_nor_bounds_the_job(ended, timeout):
    assert ended[timeout].status is TIMEOUTS[timeout]


def test_none_of_them_keeps_the_others_from_being_found(ended, store):
    found, token = store.search_jobs()

    assert {job.job_id for job in found} == {job.job_id for job in ended.values()}
    assert token is None
    assert all(JobStatus.is_finalized(job.status) for job in found)
