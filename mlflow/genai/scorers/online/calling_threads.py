"""The threads of a job's own process that call its scorers, and may be stuck there for ever."""

from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import Empty, SimpleQueue

from mlflow.environment_variables import MLFLOW_ONLINE_SCORING_MAX_WORKER_THREADS
from mlflow.exceptions import MlflowException


@contextmanager
def calling_threads(name: str) -> Iterator[ThreadPoolExecutor]:
    """Threads whose end is waited for, unless what they are for has failed.

    Args:
        name: What their names begin with.
    """
    pool = ThreadPoolExecutor(
        MLFLOW_ONLINE_SCORING_MAX_WORKER_THREADS.get(), thread_name_prefix=name
    )
    try:
        yield pool
    except BaseException:
        # They end with the process of the job, which waits for them no longer either.
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def as_they_end(
    futures: Collection[Future], patience_seconds: float | None
) -> Iterator[list[Future]]:
    """Each future once: wait for one, and take all that have ended meanwhile with it.

    Args:
        futures: What to wait for.
        patience_seconds: How long none of them may end; None for any time.

    Raises:
        MlflowException: None has ended for that long.
    """
    ended: SimpleQueue[Future] = SimpleQueue()
    for future in futures:
        future.add_done_callback(ended.put)
    left = len(futures)
    while left:
        try:
            group = [ended.get(timeout=patience_seconds)]
        except Empty:
            raise MlflowException(
                f"No scorer has answered within {patience_seconds:g} seconds; {left} traces or "
                "sessions are left."
            ) from None
        while not ended.empty():
            group.append(ended.get())
        left -= len(group)
        yield group
