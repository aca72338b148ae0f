"""The status of a job as clients are told it.

Unfinished work is PENDING or RUNNING to them. The built UI takes any other status that it does not
know for the end of a job, and NEEDS_RECOVERY is not the end of one.
"""

from mlflow.entities._job_status import JobStatus


def shown_status(status: JobStatus) -> JobStatus:
    """What stands for `status` in a response."""
    return JobStatus.RUNNING if status is JobStatus.NEEDS_RECOVERY else status


def statuses_shown_as(status: JobStatus) -> list[JobStatus]:
    """The statuses of the rows that a client finds under `status`.

    Rows in NEEDS_RECOVERY are also found under that name, which 3.18 took.
    """
    return [found for found in JobStatus if status in (found, shown_status(found))]
