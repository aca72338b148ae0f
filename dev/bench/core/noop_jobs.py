"""The job type whose rows the queue core is measured with; no process ever runs it."""

from mlflow.server.jobs import job

NAME = "bench_noop"


# How many run at once is set by the contender.
@job(name=NAME, max_workers=1)
def noop(sent_at: float) -> None:
    """Does nothing."""
