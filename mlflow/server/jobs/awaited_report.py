"""What became of a remote job whose workload has ended: its own report, or a failure.

A workload reports to the server before it ends, so that its report is the last word. The backend
may see its end first, for the report is still on its way: the row is looked at again for a short
grace. A workload that then has not reported was lost with what it ran on.
"""

from collections.abc import Callable

from mlflow.entities._job_status import JobStatus
from mlflow.server.jobs.executor import JobResult
from mlflow.store.jobs.values import Claim

REPORT_GRACE_SECONDS = 5.0
_LOOK_SECONDS = 0.25

_OPEN = (JobStatus.RUNNING, JobStatus.NEEDS_RECOVERY)


def await_report(
    claim: Claim,
    look: Callable[[], dict[Claim, JobStatus | None]],
    monotonic: Callable[[], float],
    pause: Callable[[float], bool],
) -> bool:
    """Whether the row has left the claim within the grace.

    Args:
        claim: The claim of the workload.
        look: Answers the claim with its row's state, unless the row is RUNNING under it.
        monotonic: The time.
        pause: Waits so many seconds; true when there is nothing to wait for any more.
    """
    until = monotonic() + REPORT_GRACE_SECONDS
    while look().get(claim, JobStatus.RUNNING) in _OPEN:
        if monotonic() >= until or pause(_LOOK_SECONDS):
            return False
    return True


def without_report(result: JobResult) -> JobResult:
    """The result of a workload that ended without a report, from how its backend saw it end."""
    if result.status in (JobStatus.TIMEOUT, JobStatus.CANCELED):
        return result
    error = "The remote workload ended without reporting a result."
    if result.error_message:
        error = f"{error} Its backend says: {result.error_message}"
    return JobResult(
        JobStatus.FAILED, error_message=error, is_transient_error=result.is_transient_error
    )
