"""A job of a remote backend: its workload's report is the last word, and silence is a failure."""

import threading

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.server.jobs.awaited_report import REPORT_GRACE_SECONDS
from mlflow.server.jobs.cancellation import Cancellation
from mlflow.server.jobs.executor import JobResult
from mlflow.server.jobs.functions import JobFunctionMetadata
from mlflow.server.jobs.lifecycle import Lifecycle, Surroundings
from mlflow.server.jobs.outcome import Fail, Retry, RetryPolicy, Succeed
from mlflow.server.jobs.owned_jobs import End, OwnedJob, OwnedJobs
from mlflow.server.jobs.pace import Pace
from mlflow.store.jobs.job_tokens import hash_of
from mlflow.store.jobs.values import ClaimedJob, TokenHolder
from tests.server.jobs.fakes import PATIENCE_SECONDS, FakeClock, failed, succeeded


class ObservedClock(FakeClock):
    """Does something once the lifecycle has waited for a report so many times."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = 0
        self.at = {}

    def wait(self, event: threading.Event, timeout_seconds: float | None) -> bool:
        self.waits += 1
        self.at.pop(self.waits, lambda: None)()
        return super().wait(event, timeout_seconds)


@pytest.fixture
def clock():
    return ObservedClock()


@pytest.fixture
def owned(clock):
    return OwnedJobs(clock)


@pytest.fixture
def ended():
    return []


@pytest.fixture
def run(job_store, owned, executor, clock, ended):
    """Run a claimed job of backend `ray` to its end in this thread."""
    has_ended = threading.Semaphore(0)

    def told_end(job: ClaimedJob, written) -> None:
        ended.append(written)
        has_ended.release()

    lifecycle = Lifecycle(
        job_store,
        owned,
        {"ray": executor},
        clock,
        Surroundings(
            tracking_uri="sqlite:///tracking",
            gateway_uri="http://local-gateway",
            workspaces_enabled=False,
            default_timeout=3600.0,
            retry_policy=RetryPolicy(max_retries=1, base_delay=8.0, max_delay=60.0),
            remote_backends=frozenset({"ray"}),
            remote_tracking_uri="http://tracking",
            remote_gateway_uri="http://gateway",
        ),
        lambda job_name: JobFunctionMetadata(job_name, "jobs.sample", 1),
        told_end,
        job_store.succeed_all,
    )

    def run(job: ClaimedJob, ending, stop: End | None = None, submit: bool = True) -> OwnedJob:
        owned_job = OwnedJob(job.claim, job.job_name, executor, trust_until=0.0)
        owned.add(owned_job)
        executor.end(job.claim.job_id, ending)
        if stop is not None:
            owned_job.stop(stop)
        lifecycle.run(job, owned_job, submit)
        assert has_ended.acquire(timeout=PATIENCE_SECONDS)
        return owned_job

    return run


def holder_of(job: ClaimedJob) -> TokenHolder:
    return TokenHolder(job.claim.job_id, hash_of(job.token))


def test_a_remote_backend_is_told_where_the_server_is_and_given_the_token(
    claim_remote, run, executor
):
    job = claim_remote()
    run(job, succeeded())
    context = executor.submitted[job.claim.job_id]["context"]
    assert (context.tracking_uri, context.gateway_uri) == ("http://tracking", "http://gateway")
    assert context.token == job.token
    assert job.token not in repr(context)


def test_the_token_is_not_logged(claim_remote, run, caplog):
    caplog.set_level("DEBUG")
    job = claim_remote()
    run(job, failed("broken"))
    assert "started" in caplog.text
    assert job.token not in caplog.text


def test_what_the_workload_reported_stands_whatever_its_backend_says(
    job_store, claim_remote, run, ended
):
    job = claim_remote()
    job_store.succeed(holder_of(job), '"done"')
    run(job, failed("exit code 1"))
    assert job_store.get_job(job.claim.job_id).result == '"done"'
    assert ended == [Succeed('"done"')]


def test_a_reported_failure_and_a_reported_retry_stand(job_store, claim_remote, run, ended):
    broken = claim_remote()
    job_store.fail(holder_of(broken), "its own words")
    run(broken, succeeded())
    assert ended == [Fail("its own words")]
    away = claim_remote()
    job_store.retry(holder_of(away), "away", 5.0)
    run(away, succeeded())
    row = job_store.get_job(away.claim.job_id)
    assert (row.status, row.retry_count) == (JobStatus.PENDING, 1)


def test_a_report_that_is_on_its_way_when_the_workload_ends_is_waited_for(
    job_store, claim_remote, run, clock, ended
):
    job = claim_remote()
    clock.at[3] = lambda: job_store.succeed(holder_of(job), "5")
    run(job, failed("exit code 1"))
    assert job_store.get_job(job.claim.job_id).result == "5"
    assert ended == [Succeed("5")]
    assert clock.waits == 3


@pytest.mark.parametrize("ending", [succeeded('"not a report"'), succeeded(None)])
def test_a_workload_that_ends_without_a_report_has_failed(
    job_store, claim_remote, run, clock, ending
):
    job = claim_remote()
    began = clock.monotonic()
    run(job, ending)
    row = job_store.get_job(job.claim.job_id)
    assert (row.status, row.retry_count) == (JobStatus.FAILED, 0)
    assert "without reporting a result" in row.error_message
    assert REPORT_GRACE_SECONDS <= clock.monotonic() - began < REPORT_GRACE_SECONDS + 1


def test_what_the_backend_knows_of_a_silent_end_is_told(job_store, claim_remote, run):
    job = claim_remote()
    run(job, failed("OOMKilled"))
    assert "OOMKilled" in job_store.get_job(job.claim.job_id).error_message


def test_a_silent_end_that_the_backend_calls_transient_is_retried(
    job_store, claim_remote, run, ended
):
    job = claim_remote()
    run(job, failed("the node went away", transient=True))
    assert job_store.get_job(job.claim.job_id).status is JobStatus.PENDING
    assert isinstance(ended[0], Retry)


def test_a_timeout_that_the_backend_saw_is_a_timeout(job_store, claim_remote, run):
    job = claim_remote()
    run(job, JobResult(JobStatus.TIMEOUT, error_message="took too long"))
    row = job_store.get_job(job.claim.job_id)
    assert (row.status, row.error_message) == (JobStatus.TIMEOUT, "took too long")


def test_a_job_that_waits_for_recovery_may_still_report_in_the_grace(
    job_store, claim_remote, run, clock, ended
):
    job = claim_remote()
    job_store.abandon([job.claim])
    clock.at[2] = lambda: job_store.succeed(holder_of(job), "5")
    run(job, failed("exit code 1"))
    assert ended == [Succeed("5")]


def test_a_canceled_workload_is_not_waited_for(job_store, claim_remote, run, clock):
    job = claim_remote(lock_key="key")
    job_store.cancel_job(job.claim.job_id)
    run(job, failed("killed"), stop=End.CANCELED)
    row = job_store.get_job(job.claim.job_id)
    assert (row.status, row.lease_expires_at) == (JobStatus.CANCELED, None)
    assert clock.waits == 0


def test_a_job_that_is_canceled_in_the_grace_gives_its_lock_back(
    job_store, claim_remote, run, clock
):
    job = claim_remote(lock_key="key")
    clock.at[2] = lambda: job_store.cancel_job(job.claim.job_id)
    run(job, failed("exit code 1"))
    assert job_store.get_job(job.claim.job_id).lease_expires_at is None


def test_silence_while_the_server_stops_is_left_to_recovery(job_store, claim_remote, run):
    job = claim_remote()
    run(job, succeeded(), stop=End.ABANDONED)
    assert job_store.get_job(job.claim.job_id).status is JobStatus.NEEDS_RECOVERY
    assert job_store.job_of_token(holder_of(job)).live


def test_a_job_whose_claim_is_lost_is_not_waited_for(job_store, claim_remote, run, clock):
    job = claim_remote()
    run(job, failed("killed"), stop=End.LOST)
    assert job_store.get_job(job.claim.job_id).status is JobStatus.RUNNING
    assert clock.waits == 0


def test_work_that_has_reported_its_success_is_left_to_end_by_itself(
    job_store, claim_remote, owned, executor
):
    done, broken = claim_remote(), claim_remote()
    for job in (done, broken):
        owned.add(OwnedJob(job.claim, job.job_name, executor, trust_until=0.0))
    job_store.succeed(holder_of(done), "1")
    job_store.fail(broken.claim, "its lock was taken over")
    Cancellation(job_store, owned, Pace(None)).beat()
    assert executor.canceled == [broken.claim.job_id]
