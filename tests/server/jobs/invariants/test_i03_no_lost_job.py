"""I3: jobs of a runner that died are run by another, within the lease and one sweep."""

import pytest

from mlflow.entities._job_status import JobStatus
from tests.server.jobs.fakes import PATIENCE_SECONDS, succeeded

SWEEP_SECONDS = 5.0
LEASE_SECONDS = 60.0


def beat_all(parts) -> list:
    """Let each loop have one beat, in turn; answer the jobs owned then."""
    for loop in [*parts.leading, parts.claiming]:
        loop.beat_once()
    return parts.owned.all()


def test_a_job_whose_runner_died_is_claimed_within_its_lease_and_one_sweep(
    job_store, build_parts, clock, claim_one, executor
):
    dead = claim_one("sample_add")
    parts = build_parts(clock, "b")
    passed = 0.0
    while not beat_all(parts):
        assert passed <= LEASE_SECONDS + SWEEP_SECONDS, "the job is lost"
        job_store.clock_offset_ms += 1000
        clock.advance(1)
        passed += 1
    assert passed >= LEASE_SECONDS - 1
    [job] = parts.owned.all()
    assert job.claim.fence == dead.claim.fence + 1
    executor.end(dead.claim.job_id, succeeded())
    assert job.gone.wait(PATIENCE_SECONDS)
    assert job_store.get_job(dead.claim.job_id).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("leader_is_dead_too", [False, True])
def test_an_abandoned_job_needs_no_lease_to_run_out(
    job_store, build_parts, clock, claim_one, executor, leader_is_dead_too
):
    abandoned = claim_one("sample_add")
    job_store.abandon([abandoned.claim])
    if leader_is_dead_too:
        job_store.acquire_scheduler_lease("mlflow-job-scheduler", "dead", 15.0)
        job_store.clock_offset_ms += 16_000
    parts = build_parts(clock, "b")
    beat_all(parts)
    assert executor.has_submitted.wait(PATIENCE_SECONDS)
