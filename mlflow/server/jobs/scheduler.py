"""The leader's beat: hold the lease, sweep, begin what is due. Keeps I6.

A follower asks for the lease once per beat and does nothing else.
"""

import threading
from collections.abc import Callable

from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.periodic import PeriodicTasks
from mlflow.server.jobs.scheduler_lease import SchedulerLease
from mlflow.server.jobs.sweep import Sweep
from mlflow.store.jobs.values import Term

_BEATS_PER_LEASE = 3


class Scheduler:
    """One runner's part in the leadership."""

    def __init__(
        self,
        lease: SchedulerLease,
        sweep: Sweep,
        tasks: PeriodicTasks,
        clock: Clock,
        lease_ttl_seconds: float,
        sweep_seconds: float,
        on_lead: Callable[[], None],
    ) -> None:
        """
        Args:
            lease: Who leads.
            sweep: What the leader marks.
            tasks: What the leader begins.
            clock: For the times of renewal and sweep.
            lease_ttl_seconds: The scheduler lease's duration.
            sweep_seconds: The time between two sweeps.
            on_lead: Told at every sweep that this process leads.
        """
        self._lease = lease
        self._sweep = sweep
        self._tasks = tasks
        self._clock = clock
        self._renew_seconds = lease_ttl_seconds / _BEATS_PER_LEASE
        self._sweep_seconds = sweep_seconds
        self._on_lead = on_lead
        self._lock = threading.Lock()
        self._resigned = False
        self._renew_at = float("-inf")
        self._sweep_at = float("-inf")

    def beat(self) -> float:
        """Lead if possible; answer when to beat again, in seconds."""
        term = self._hold_lease()
        if term is None:
            return max(self._renew_at - self._clock.monotonic(), 0.0)
        if self._clock.monotonic() >= self._sweep_at:
            self._sweep_at = self._clock.monotonic() + self._sweep_seconds
            self._sweep.run(term)
            self._on_lead()
        self._tasks.begin_due(term)
        return max(min(self._renew_at, self._sweep_at) - self._clock.monotonic(), 0.0)

    def resign(self) -> None:
        """Give the lease back, so that another leads at once, and take it no more."""
        with self._lock:
            self._resigned = True
            self._lease.release()

    def _hold_lease(self) -> Term | None:
        with self._lock:
            if self._resigned:
                return None
            if self._clock.monotonic() < self._renew_at:
                return self._lease.term
            term = self._lease.renew() or self._lease.acquire()
            self._renew_at = self._clock.monotonic() + self._renew_seconds
            return term
