"""The leader's beat: hold the lease, sweep what is stale, begin what is due. Keeps I3 and I6.

A follower looks at the lease once per beat and does nothing else; it sleeps for as long as the
lease lasts where it would hear of a leader that resigns.

The leader's renewal answers when the first RUNNING job becomes stale (`Outlook`), so it sweeps
then, and not every few seconds. That loses no job (I3): a job that the last renewal did not see has
been claimed since, with a whole lease, and the next renewal comes no later than one such lease. A
renewal also sees whether jobs wait for recovery.
"""

import threading
from collections.abc import Callable

from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.periodic import PeriodicTasks
from mlflow.server.jobs.scheduler_lease import SchedulerLease
from mlflow.server.jobs.sweep import Sweep
from mlflow.store.jobs.values import Outlook, Term

# A renewal that fails has this long to be repeated before the lease is gone, if the lease is long.
_REPEAT_SECONDS = 6.0
_LATEST_SHARE = 0.6
_EARLIEST_SHARE = 1 / 3

_SWEEP_SHARE = 1 / 4
_LONGEST_SWEEP_SECONDS = 0.5

# Staleness is "before now" by a clock of milliseconds.
_STALE_MARGIN_SECONDS = 0.01
_SHORTEST_PAUSE_SECONDS = 0.05


def renewal_seconds(lease_ttl_seconds: float) -> float:
    """How long a leader waits before it renews its lease."""
    latest = min(_LATEST_SHARE * lease_ttl_seconds, lease_ttl_seconds - _REPEAT_SECONDS)
    return max(_EARLIEST_SHARE * lease_ttl_seconds, latest)


def sweep_seconds(job_lease_ttl_seconds: float) -> float:
    """The shortest time between two sweeps; a job that is stale may have to wait for so long."""
    return min(_SWEEP_SHARE * job_lease_ttl_seconds, _LONGEST_SWEEP_SECONDS)


class Scheduler:
    """One runner's part in the leadership."""

    def __init__(
        self,
        lease: SchedulerLease,
        sweep: Sweep,
        tasks: PeriodicTasks,
        clock: Clock,
        lease_ttl_seconds: float,
        job_lease_seconds: float,
        sweep_seconds: float,
        on_recovery: Callable[[], None],
        hears_all: Callable[[], bool],
    ) -> None:
        """
        Args:
            lease: Who leads.
            sweep: What the leader marks.
            tasks: What the leader begins.
            clock: For the times of renewal and sweep.
            lease_ttl_seconds: The scheduler lease's duration.
            job_lease_seconds: A job lease's duration.
            sweep_seconds: The shortest time between two sweeps.
            on_recovery: Told by the leader that there may be jobs to recover.
            hears_all: Whether a wake-up comes when another leader resigns.
        """
        self._lease = lease
        self._sweep = sweep
        self._tasks = tasks
        self._clock = clock
        self._renew_seconds = min(renewal_seconds(lease_ttl_seconds), job_lease_seconds)
        self._follow_seconds = lease_ttl_seconds * _EARLIEST_SHARE
        self._sweep_seconds = sweep_seconds
        self._on_recovery = on_recovery
        self._hears_all = hears_all
        self._lock = threading.Lock()
        self._resigned = False
        self._asked_to_look = threading.Event()
        self._ask_at = float("-inf")
        self._sweep_at = float("-inf")
        self._swept_at = float("-inf")

    def beat(self) -> float:
        """Lead if possible; answer when to beat again, in seconds."""
        term, outlook = self._hold_lease()
        if term is None:
            return self._until(self._ask_at)
        if outlook is not None:
            self._heed(outlook)
        if self._clock.monotonic() >= self._sweep_at:
            self._sweep_now(term)
        self._tasks.begin_due(term)
        return self._until(min(self._ask_at, self._sweep_at), self._tasks.seconds_to_next_look())

    def look(self) -> None:
        """Ask the database in the next beat, whenever that would have been due."""
        self._asked_to_look.set()

    def resign(self) -> None:
        """Give the lease back, so that another leads at once, and take it no more."""
        with self._lock:
            self._resigned = True
            self._lease.release()

    def _hold_lease(self) -> tuple[Term | None, Outlook | None]:
        with self._lock:
            if self._resigned:
                return None, None
            asked_at = self._clock.monotonic()
            if asked_at < self._ask_at and not self._asked_to_look.is_set():
                return self._lease.term, None
            # Before the question: a hint that comes while it is under way causes another.
            self._asked_to_look.clear()
            if term := self._lease.renew():
                self._ask_at = asked_at + self._renew_seconds
                return term, self._lease.outlook
            if term := self._lease.acquire():
                # A new leader knows nothing yet.
                self._ask_at = asked_at + self._renew_seconds
                self._sweep_at = float("-inf")
            else:
                self._ask_at = asked_at + self._following_seconds()
            return term, None

    def _following_seconds(self) -> float:
        lasts = self._lease.lasts_seconds
        return max(
            _SHORTEST_PAUSE_SECONDS,
            lasts if self._hears_all() else min(lasts, self._follow_seconds),
        )

    def _heed(self, outlook: Outlook) -> None:
        self._tasks.tell_time(outlook.now_ms)
        if outlook.recovery_waits:
            self._on_recovery()
        self._sweep_at = float("inf")
        if outlook.stale_at_ms is not None:
            seconds = (outlook.stale_at_ms - outlook.now_ms) / 1000 + _STALE_MARGIN_SECONDS
            self._sweep_at = max(
                self._clock.monotonic() + seconds, self._swept_at + self._sweep_seconds
            )

    def _sweep_now(self, term: Term) -> None:
        self._swept_at = self._clock.monotonic()
        self._sweep_at = float("inf")
        # What becomes stale next is only known after another look.
        self._ask_at = min(self._ask_at, self._swept_at + self._sweep_seconds)
        self._sweep.run(term)
        self._on_recovery()

    def _until(self, instant: float, most: float = float("inf")) -> float:
        return max(min(instant - self._clock.monotonic(), most), 0.0)
