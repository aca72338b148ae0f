"""I9: with every wake-up lost, jobs still run, cancellations arrive and slots are filled again."""

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.loop import Loop
from tests.server.jobs.fakes import PATIENCE_SECONDS, succeeded


@pytest.fixture
def parts_without_wakeups(build_parts, monkeypatch):
    for way in ("wake", "wake_among_others"):
        monkeypatch.setattr(Loop, way, lambda loop: None)
    parts = build_parts(Clock(), poll_interval=0.1)
    loops = [*parts.supervising, parts.claiming]
    for loop in loops:
        loop.start()
    yield parts
    for loop in loops:
        loop.stop()
    for loop in loops:
        assert loop.join(PATIENCE_SECONDS)


def test_a_job_is_run_though_nobody_was_woken(
    job_store, parts_without_wakeups, make_pending, executor
):
    job_id = make_pending("sample_add")
    assert executor.has_submitted.wait(PATIENCE_SECONDS)
    [job] = parts_without_wakeups.owned.all()
    executor.end(job_id, succeeded())
    assert job.gone.wait(PATIENCE_SECONDS)
    assert job_store.get_job(job_id).status is JobStatus.SUCCEEDED


def test_a_cancellation_arrives_though_nobody_was_woken(
    job_store, parts_without_wakeups, make_pending, executor
):
    job_id = make_pending("sample_add")
    assert executor.has_submitted.wait(PATIENCE_SECONDS)
    job_store.cancel_job(job_id)
    assert executor.has_canceled.wait(PATIENCE_SECONDS)


def test_a_freed_slot_is_filled_though_nobody_was_woken(
    parts_without_wakeups, make_pending, executor
):
    ids = [make_pending("sample_add") for _ in range(3)]
    assert executor.await_submissions(2)
    for job_id in ids:
        executor.end(job_id, succeeded())
    assert executor.await_submissions(1)
