"""Which transition a result asks for."""

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.server.jobs.executor import JobResult
from mlflow.server.jobs.outcome import Fail, Retry, RetryPolicy, Succeed, TimeOut, decide
from tests.server.jobs.fakes import failed, succeeded

POLICY = RetryPolicy(max_retries=3, base_delay=0.0, max_delay=60.0)


@pytest.mark.parametrize(
    ("result", "retry_count", "outcome"),
    [
        (succeeded('{"a": 1}'), 0, Succeed('{"a": 1}')),
        (succeeded(None), 3, Succeed(None)),
        (failed("broken"), 0, Fail("broken")),
        (failed("away", transient=True), 0, Retry("away", 0.0)),
        (failed("away", transient=True), 2, Retry("away", 0.0)),
        (failed("away", transient=True), 3, Fail("away (given up after 3 retries)")),
        (JobResult(JobStatus.TIMEOUT), 0, TimeOut(None)),
        (JobResult(JobStatus.TIMEOUT, error_message="late"), 0, TimeOut("late")),
        (JobResult(JobStatus.FAILED), 0, Fail("The job failed without an error message.")),
    ],
)
def test_a_result_asks_for_one_transition(result, retry_count, outcome):
    assert decide(result, retry_count, POLICY) == outcome


def test_without_retries_a_transient_failure_is_a_failure():
    policy = RetryPolicy(max_retries=0, base_delay=1.0, max_delay=1.0)
    assert decide(failed("away", transient=True), 0, policy) == Fail("away")


@pytest.mark.parametrize(
    "status", [JobStatus.PENDING, JobStatus.RUNNING, JobStatus.NEEDS_RECOVERY, JobStatus.CANCELED]
)
def test_a_backend_that_reports_no_end_fails_the_job_with_a_sentence(status):
    outcome = decide(JobResult(status), 0, POLICY)
    assert isinstance(outcome, Fail)
    assert "backend" in outcome.error


def test_a_result_is_not_in_its_representation():
    assert "secret" not in repr(Succeed("secret"))
