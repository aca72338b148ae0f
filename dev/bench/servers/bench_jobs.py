"""The job function whose start the benchmark times; servers find it by PYTHONPATH."""

import time

from mlflow.server.jobs import job


@job(name="bench_first_line", max_workers=2)
def first_line(sent_at: float) -> float:
    """Returns the seconds from `sent_at` (Unix time of this host) to this very line."""
    return time.time() - sent_at
