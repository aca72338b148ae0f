"""Write the successes of jobs that end at the same moment together (T5). Delays none of them.

What comes is written as soon as a thread is free for it. What comes while that write is under way
waits, without a thread, and goes as one write right after it. So there is at most one write at a
time, and its size is what the database's own speed makes it: one row where it keeps up. A write
takes its turn behind the jobs that are about to begin, so that those which are over in a moment are
written as one, and not as one and the rest.

It is all or nothing. A group of which some claim is lost, some result cannot be stored, or that the
database does not take, has changed nothing; then each is given back to be written alone, where it
is learned what there is to say of its claim. Nobody's trouble is another's.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mlflow.server.jobs.outcome import Succeed
from mlflow.server.jobs.owned_jobs import OwnedJob
from mlflow.store.jobs.errors import InvalidJobField, JobStoreUnavailable
from mlflow.store.jobs.values import ClaimedJob, Success

_logger = logging.getLogger(__name__)

_MOST_TOGETHER = 32
# A longer result would make the others wait; it goes alone.
_LONGEST_TOGETHER = 16 * 1024


@dataclass(frozen=True)
class Ended:
    """A job whose work has succeeded, which its row does not say yet."""

    job: ClaimedJob
    owned: OwnedJob
    outcome: Succeed = field(repr=False)

    @property
    def success(self) -> Success:
        """What is to be written."""
        return Success(self.job.claim, self.outcome.result)


class SuccessWrites:
    """Joins the successes of many threads into few transactions.

    Invariant: while anything is queued, a write is under way or has been begun.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Success]], bool],
        on_written: Callable[[Ended], None],
        on_refused: Callable[[Ended], None],
        begin: Callable[[Callable[[], None]], bool],
    ) -> None:
        """
        Args:
            write: Writes all of some successes, or none of them; answers whether it has.
            on_written: Told each job that is written; must not block.
            on_refused: Told each that has to be written alone; must not block.
            begin: Has a call made on a thread that is free, behind what is about to begin; false
                when no thread is to be had.
        """
        self._write = write
        self._on_written = on_written
        self._on_refused = on_refused
        self._begin = begin
        self._lock = threading.Lock()
        self._is_writing = False
        self._queue: list[Ended] = []

    @staticmethod
    def takes(outcome: Succeed) -> bool:
        """Whether the others can bear to be written with it."""
        return len(outcome.result or "") <= _LONGEST_TOGETHER

    def put(self, ended: Ended) -> None:
        """Have it written soon, with what comes meanwhile."""
        with self._lock:
            self._queue.append(ended)
            if self._is_writing:
                return
            self._is_writing = True
        if not self._begin(self._write_next):
            self._write_next()

    def _write_next(self) -> None:
        while True:
            self._write_group(self._next_group())
            with self._lock:
                self._is_writing = bool(self._queue)
                if not self._is_writing:
                    return
            if self._begin(self._write_next):
                return

    def _next_group(self) -> list[Ended]:
        with self._lock:
            group, self._queue = self._queue[:_MOST_TOGETHER], self._queue[_MOST_TOGETHER:]
        return group

    def _write_group(self, group: list[Ended]) -> None:
        written = False
        try:
            written = self._write([each.success for each in group])
        except (JobStoreUnavailable, InvalidJobField):
            pass
        except Exception:
            _logger.exception("%d jobs that succeeded together are written alone", len(group))
        for each in group:
            _tell(self._on_written if written else self._on_refused, each)


def _tell(listener: Callable[[Ended], None], ended: Ended) -> None:
    try:
        listener(ended)
    except Exception:
        # Those behind it must be told, and written.
        _logger.exception("The end of job %s was not taken", ended.job.claim.job_id)
