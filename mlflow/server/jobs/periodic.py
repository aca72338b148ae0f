"""The table of periodic tasks, and when each is due. Keeps I6 and I7.

A task is due at instants that its schedule alone decides, by the database's clock. The store
remembers the last instant for which a run was begun, and lets exactly one leader begin it; so no
change of leader skips one or runs it twice. After an outage only the latest missed instant is made
up for.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.loop import RepeatedError
from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.errors import LeadershipLost
from mlflow.store.jobs.values import Term

_logger = logging.getLogger(__name__)

_RESAMPLE_SECONDS = 60.0
_MINUTE_MS = 60_000


class Schedule(Protocol):
    """When something is due."""

    def latest_ms(self, now_ms: int) -> int | None:
        """The last due instant that is not after `now_ms`, in epoch milliseconds."""


@dataclass(frozen=True)
class Every:
    """Due at each multiple of a number of seconds, counted from the epoch."""

    seconds: int

    def latest_ms(self, now_ms: int) -> int:
        """The last due instant that is not after `now_ms`, in epoch milliseconds."""
        return now_ms - now_ms % (self.seconds * 1000)


@dataclass(frozen=True)
class PeriodicTask:
    """Something that one leader does whenever it is due.

    Attributes:
        name: Its key in the database.
        schedule: When it is due.
        run: What to do, under the term that began it.
        runs_at_first_sight: Whether an instant that passed before any runner knew the task counts.
        has_work: Whether a run would find anything to do, for less than a run costs. An instant at
            which it has none is passed over.
    """

    name: str
    schedule: Schedule
    run: Callable[[Term], None]
    runs_at_first_sight: bool = True
    has_work: Callable[[], bool] = lambda: True


class PeriodicTasks:
    """Begins due tasks, each on a thread of its own, and none beside itself."""

    def __init__(
        self,
        store: AbstractJobStore,
        clock: Clock,
        tasks: Sequence[PeriodicTask],
        start: Callable[[str, Callable[[], None]], None] | None = None,
    ) -> None:
        """
        Args:
            store: Remembers the last runs.
            clock: Spans the time between two readings of the database's clock.
            tasks: The table.
            start: Runs a function beside the caller, under a name; by default on a new thread.
        """
        self._store = store
        self._now = DatabaseTime(store, clock)
        self._start = start or _start_thread
        self._rows = [_Row(task) for task in tasks]

    def tell_time(self, now_ms: int) -> None:
        """The database's time was read just now, for another purpose."""
        self._now.tell(now_ms)

    def seconds_to_next_look(self) -> float:
        """When something may be due next; schedules are in whole minutes."""
        return (_MINUTE_MS - self._now.ms() % _MINUTE_MS) / 1000

    def begin_due(self, term: Term) -> list[str]:
        """Begin all tasks that are due; answer their names."""
        now_ms = self._now.ms()
        begun = [row for row in self._rows if self._begins(row, now_ms, term)]
        for row in begun:
            row.running.set()
            self._start(row.task.name, lambda row=row: row.run(term))
        return [row.task.name for row in begun]

    def _begins(self, row: "_Row", now_ms: int, term: Term) -> bool:
        due_at_ms = row.task.schedule.latest_ms(now_ms)
        if due_at_ms is None or due_at_ms <= row.last_due_at_ms or row.running.is_set():
            return False
        if not row.has_work():
            row.last_due_at_ms = due_at_ms
            return False
        first_sight = (
            not row.task.runs_at_first_sight
            and row.last_due_at_ms == 0
            and self._store.last_periodic_run(row.task.name) is None
        )
        if not self._store.begin_periodic_run(row.task.name, due_at_ms, term):
            # Begun by another leader, or the term is over and nobody has begun it.
            row.last_due_at_ms = self._store.last_periodic_run(row.task.name) or 0
            return False
        row.last_due_at_ms = due_at_ms
        return not first_sight


class DatabaseTime:
    """The database's clock, read once in a while and carried on by the host's monotonic one."""

    def __init__(self, store: AbstractJobStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._sampled_at = float("-inf")
        self._sample_ms = 0

    def ms(self) -> int:
        """Now, in epoch milliseconds of the database; never ahead of it."""
        if self._clock.monotonic() - self._sampled_at >= _RESAMPLE_SECONDS:
            self.tell(self._store.now_ms())
        return self._sample_ms + int((self._clock.monotonic() - self._sampled_at) * 1000)

    def tell(self, now_ms: int) -> None:
        """It was this time when the database answered just now."""
        self._sample_ms = now_ms
        self._sampled_at = self._clock.monotonic()


class _Row:
    """A task with what this process knows of its runs."""

    def __init__(self, task: PeriodicTask) -> None:
        self.task = task
        self.last_due_at_ms = 0
        self.running = threading.Event()
        self._failures = RepeatedError(f"The periodic task {task.name}")

    def has_work(self) -> bool:
        try:
            return self.task.has_work()
        except Exception as e:  # noqa: BLE001 - one task's trouble must not end the leadership
            _logger.debug("Whether %s has work is not known: %s", self.task.name, type(e).__name__)
            return True

    def run(self, term: Term) -> None:
        try:
            self.task.run(term)
        except LeadershipLost as e:
            _logger.info("The periodic task %s ends early: %s", self.task.name, e.message)
        except Exception as e:  # noqa: BLE001 - root of a thread
            self._failures.failed(e)
        else:
            self._failures.passed()
        finally:
            self.running.clear()


def _start_thread(name: str, run: Callable[[], None]) -> None:
    threading.Thread(target=run, name=f"mlflow-job-task-{name}", daemon=True).start()
