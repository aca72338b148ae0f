"""The scheduler lease of this process: who leads, and until when it may believe so. Keeps I6.

A *term* is one holding of the lease, from an acquisition to its release, its expiry or its loss.
The database is authoritative: a term lives as long as its row says, by the database's clock, and
every row that a leader creates names its term, so that a paused ex-leader creates none.

What this class adds is thrift. A leader asks the database once per renewal, and in between relies
on a *trust deadline* of its own monotonic clock, counted from before the request was sent and
shortened by a margin. Past that deadline there is no term here, whatever the database would say.
The deadline is no guarantee: a process may be paused between looking at it and acting. That is what
the term in the statements is for.

    follower --acquire--> leader --renew--> leader
    leader --trust deadline, or renewal refused--> follower
    leader --release--> follower, and the row is free at once
"""

import logging
import os
import socket
import threading
import uuid

from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.trust import trust_deadline
from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.values import Outlook, Term

_logger = logging.getLogger(__name__)

SCHEDULER_LEASE_KEY = "mlflow-job-scheduler"


def new_replica_id() -> str:
    """A name for this process that no other process has had, on this host or another."""
    return f"{socket.gethostname()[:64]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


class SchedulerLease:
    """One process's hold on the scheduler lease. Its methods may be called from any thread."""

    def __init__(
        self,
        store: AbstractJobStore,
        clock: Clock,
        holder: str,
        ttl_seconds: float,
        key: str = SCHEDULER_LEASE_KEY,
    ) -> None:
        """
        Args:
            store: The job store.
            clock: The clock of the trust deadline.
            holder: This process; no other may use the same name.
            ttl_seconds: How long the lease lasts without renewal.
            key: Which lease.
        """
        self._store = store
        self._clock = clock
        self._holder = holder
        self._ttl_seconds = ttl_seconds
        self._key = key
        self._lock = threading.Lock()
        self._term: Term | None = None
        self._trust_until = 0.0
        self._outlook: Outlook | None = None
        self._lasts_seconds = 0.0

    @property
    def term(self) -> Term | None:
        """The term that may still be acted under; None for a follower."""
        with self._lock:
            return self._trusted_term()

    @property
    def outlook(self) -> Outlook | None:
        """What the last renewal saw."""
        return self._outlook

    @property
    def lasts_seconds(self) -> float:
        """How long another's lease was going to last when it was last asked for; 0 if free."""
        return self._lasts_seconds

    def acquire(self) -> Term | None:
        """Try to begin a term; the one that is under way is answered without asking."""
        with self._lock:
            if term := self._trusted_term():
                return term
            self._lasts_seconds = self._store.scheduler_lease_lasts(self._key)
            if self._lasts_seconds > 0:
                return None
            asked_at = self._clock.monotonic()
            self._term = self._store.acquire_scheduler_lease(
                self._key, self._holder, self._ttl_seconds
            )
            self._trust_until = trust_deadline(asked_at, self._ttl_seconds)
            if self._term is not None:
                _logger.info("%s leads (term %d)", self._holder, self._term.fence)
            return self._trusted_term()

    def renew(self) -> Term | None:
        """Prolong the term; None when there is none any more."""
        with self._lock:
            term = self._trusted_term()
            if term is None:
                return None
            asked_at = self._clock.monotonic()
            self._outlook = self._store.lead(term, self._ttl_seconds)
            if self._outlook is not None:
                self._trust_until = trust_deadline(asked_at, self._ttl_seconds)
            else:
                _logger.warning("%s leads no more (term %d)", self._holder, term.fence)
                self._term = None
            return self._trusted_term()

    def release(self) -> None:
        """Resign, so that another may lead at once."""
        with self._lock:
            term, self._term = self._term, None
            if term is not None:
                self._store.release_scheduler_lease(term)

    def _trusted_term(self) -> Term | None:
        if self._term is not None and self._clock.monotonic() >= self._trust_until:
            _logger.warning(
                "%s steps down (term %d): its lease was not renewed in time",
                self._holder,
                self._term.fence,
            )
            self._term = None
        return self._term
