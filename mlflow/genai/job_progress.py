"""What MLflow's own job functions tell of how far they are: often enough for a reader, no more.

Outside a job nothing is told. No report fails its job, whatever becomes of it.
"""

import logging
import threading
import time
from collections.abc import Callable

from mlflow.entities._job import JobProgress
from mlflow.server.jobs.progress import update_job_progress

_logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 2.0


def tell(message: str, progress: JobProgress) -> None:
    """Report once, now."""
    try:
        update_job_progress(message=message, progress=progress)
    except Exception as error:  # noqa: BLE001 - the work matters more than the word of it
        _logger.warning("The job's progress %r was not reported: %s", message, error)


def count_aloud(
    phase: str,
    unit: str,
    done_word: str,
    clock: Callable[[], float] = time.monotonic,
    timer: Callable[[float, Callable[[], None]], threading.Timer] = threading.Timer,
) -> Callable[[int, int], None]:
    """A callback for the number done and the number to do.

    The first number and the last are reported at once, and in between the newest once per interval,
    also when no other follows. Any thread may call it.

    Args:
        phase: What is going on.
        unit: What is counted, in the plural.
        done_word: What has become of those that are done; begins the sentence for the user.
        clock: Seconds that only grow.
        timer: Makes what calls a function after so many seconds.
    """
    lock = threading.Lock()
    next_report = float("-inf")
    waiting: threading.Timer | None = None
    newest = (0, 0)

    def count(done: int, total: int) -> None:
        nonlocal newest, waiting
        with lock:
            newest = (done, total)
            wait = next_report - clock()
            if done >= total or wait <= 0:
                report()
            elif waiting is None:
                waiting = timer(wait, report_late)
                waiting.daemon = True
                waiting.start()

    def report_late() -> None:
        with lock:
            # Unless a report overtook it.
            if waiting is not None:
                report()

    def report() -> None:
        nonlocal next_report, waiting
        if waiting is not None:
            waiting.cancel()
            waiting = None
        next_report = clock() + INTERVAL_SECONDS
        done, total = newest
        tell(
            f"{done_word} {done} of {total} {unit}",
            JobProgress(phase=phase, completed=done, total=total, unit=unit),
        )

    return count
