"""The job type whose rows the queue core is measured with; no process ever runs it."""

from mlflow.server.jobs import job

NAME = "bench_noop"
# The most that any benchmark runs at once; what is served is set by the contender.
MAX_WORKERS = 10


@job(name=NAME, max_workers=MAX_WORKERS)
def noop(sent_at: float) -> None:
    """Does nothing."""
