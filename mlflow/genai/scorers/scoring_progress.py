"""Report how far the scoring of traces or sessions is, often enough for a reader and no more."""

import threading
import time
from collections.abc import Callable

from mlflow.entities._job import JobProgress
from mlflow.server.jobs.progress import update_job_progress

_INTERVAL_SECONDS = 2.0


def progress_of(unit: str) -> Callable[[int, int], None]:
    """A callback for the number done and the number to do.

    It writes at most once per interval, and always at the end. Any thread may call it.

    Args:
        unit: What is counted, in the plural.
    """
    lock = threading.Lock()
    next_report = float("-inf")

    def report(done: int, total: int) -> None:
        nonlocal next_report
        with lock:
            now = time.monotonic()
            if now < next_report and done < total:
                return
            next_report = now + _INTERVAL_SECONDS
            update_job_progress(
                message=f"Scored {done} of {total} {unit}",
                progress=JobProgress(
                    phase=f"scoring {unit}", completed=done, total=total, unit=unit
                ),
            )

    return report
