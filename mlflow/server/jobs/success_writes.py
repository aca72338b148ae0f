"""Write the successes of jobs that end at the same moment together (T5). Delays none of them.

The first is written at once, by the thread that brings it. What comes while that write is under way
waits, and goes as one write right after it, by the first of those threads. So there is at most one
write at a time, and its size is what the database's own speed makes it: one row where it keeps up.

It is all or nothing. A group of which some claim is lost, some result cannot be stored, or that the
database does not take, has changed nothing; then each thread writes its own, and learns what there
is to say of its claim alone. Nobody's trouble is another's.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.errors import InvalidJobField, JobStoreUnavailable
from mlflow.store.jobs.values import Claim, Success

_MOST_TOGETHER = 32
# A longer result would make the others wait; it goes alone.
_LONGEST_TOGETHER = 16 * 1024


class _Waiting:
    """A success whose thread waits.

    Invariant: `told` is released once, after `written` is known or it has become its turn to write.
    """

    def __init__(self, success: Success) -> None:
        self.success = success
        self.written: bool | None = None
        self.told = threading.Lock()
        self.told.acquire()


class SuccessWrites:
    """Joins the successes of many threads into few transactions."""

    def __init__(
        self, store: AbstractJobStore, on_written: Callable[[Sequence[Claim]], None]
    ) -> None:
        """
        Args:
            store: The job store.
            on_written: Told the claims of a group once it is written, all at once, so that the
                slots of all of them are free for the next claim.
        """
        self._store = store
        self._on_written = on_written
        self._lock = threading.Lock()
        self._is_writing = False
        self._queue: deque[_Waiting] = deque()

    def write(self, success: Success) -> bool:
        """Write it, with others if there are any.

        Returns:
            True: it is APPLIED. False: it is not written, and the caller has to write it alone.
        """
        if len(success.result or "") > _LONGEST_TOGETHER:
            return False
        mine = _Waiting(success)
        with self._lock:
            self._queue.append(mine)
            waits, self._is_writing = self._is_writing, True
        if waits:
            mine.told.acquire()
        if mine.written is None:
            self._write_group()
        return bool(mine.written)

    def _write_group(self) -> None:
        with self._lock:
            group = [*islice(self._queue, _MOST_TOGETHER)]
        written = False
        try:
            written = self._store.succeed_all([each.success for each in group])
            if written:
                self._on_written([each.success.claim for each in group])
        except (JobStoreUnavailable, InvalidJobField):
            pass
        finally:
            self._tell(group, written)

    def _tell(self, group: list[_Waiting], written: bool) -> None:
        for each in group:
            each.written = written
        with self._lock:
            for _ in group:
                self._queue.popleft()
            self._is_writing = bool(self._queue)
            next_writer = self._queue[0] if self._queue else None
        if next_writer is not None:
            next_writer.told.release()
        for each in group[1:]:
            each.told.release()
