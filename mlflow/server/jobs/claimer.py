"""Claim what fits, and start it (T2). Keeps I3 for jobs that wait."""

import heapq
import logging
import math
import threading
from collections.abc import Collection, Mapping

from mlflow.server.jobs.capacity import free_slots
from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.lifecycle import Lifecycle
from mlflow.server.jobs.lock_manager import LockKeys
from mlflow.server.jobs.owned_jobs import OwnedJobs
from mlflow.server.jobs.settings import JobSettings
from mlflow.server.jobs.trust import trust_deadline
from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.values import ClaimedJob

_logger = logging.getLogger(__name__)

# A retry is due by the database's clock, whose resolution is a millisecond.
_DUE_MARGIN_SECONDS = 0.05


class Claimer:
    """One beat: one claim of as many due jobs as there are free slots."""

    def __init__(
        self,
        store: AbstractJobStore,
        owned: OwnedJobs,
        lifecycle: Lifecycle,
        clock: Clock,
        settings: JobSettings,
        replica_id: str,
        backends: Collection[str | None],
        limits: Mapping[str, int],
        lock_key_for: LockKeys,
        remote_backends: Collection[str | None] = (),
    ) -> None:
        """
        Args:
            store: The job store.
            owned: Which slots are taken.
            lifecycle: What runs a claimed job.
            clock: For the trust deadlines and the due times of retries.
            settings: Lease, poll interval and default timeout.
            replica_id: Who claims.
            backends: Names served here; None stands for rows without one.
            limits: Job name to how many of its jobs may run here at once.
            lock_key_for: Lock keys of rows that were stored without one.
            remote_backends: Those of `backends` whose jobs need a job token (I8).
        """
        self._store = store
        self._owned = owned
        self._lifecycle = lifecycle
        self._clock = clock
        self._settings = settings
        self._replica_id = replica_id
        self._backends = backends
        self._limits = limits
        self._lock_key_for = lock_key_for
        self._remote_backends = remote_backends
        self._draining = False
        self._claiming = threading.Lock()
        self._retries_due: list[float] = []
        self._retries_lock = threading.Lock()

    def beat(self) -> float | None:
        """Claim and start; answer after how many seconds to look again, None for never."""
        with self._claiming:
            if self._draining:
                return None
            progressed = self._claim()
        return 0.0 if progressed else self._pause()

    def drain(self) -> None:
        """Claim nothing from now on; a claim that is under way ends first."""
        with self._claiming:
            self._draining = True

    def expect_retry(self, delay_seconds: float) -> None:
        """A job of this runner will be due again then; other runners may take it first."""
        due_at = self._clock.monotonic() + delay_seconds + _DUE_MARGIN_SECONDS
        with self._retries_lock:
            heapq.heappush(self._retries_due, due_at)

    def _claim(self) -> bool:
        free = free_slots(self._limits, self._owned.running_by_name())
        if not free:
            return False
        asked_at = self._clock.monotonic()
        batch = self._store.claim_batch(
            self._replica_id,
            self._backends,
            free,
            self._settings.job_lease_ttl,
            self._lock_key_for,
            default_timeout_seconds=self._settings.default_timeout,
            token_backends=self._remote_backends,
        )
        trust_until = trust_deadline(asked_at, self._settings.job_lease_ttl)
        for job in batch.claimed:
            self._start(job, trust_until)
        for job_id in batch.canceled:
            _logger.info("Job %s is canceled: another holds its exclusivity lock", job_id)
        return bool(batch.canceled)

    def _start(self, job: ClaimedJob, trust_until: float) -> None:
        try:
            self._lifecycle.start(job, trust_until)
        except RuntimeError as e:
            _logger.error("Job %s (fence %d): %s", job.claim.job_id, job.claim.fence, e)
            self._store.abandon([job.claim])

    def _pause(self) -> float:
        now = self._clock.monotonic()
        with self._retries_lock:
            while self._retries_due and self._retries_due[0] <= now:
                heapq.heappop(self._retries_due)
            next_due = self._retries_due[0] - now if self._retries_due else math.inf
        return min(self._settings.poll_interval, next_due)
