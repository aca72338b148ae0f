"""Claim what fits, and start it (T2). Keeps I3 for jobs that wait, and I11 for those beside them.

A beat that was woken claims at once. One that comes because the pause is over most often finds
nothing, so it looks first, which costs one statement instead of a transaction.

Successes are written on the way (T5): where more jobs of a type may wait than had slots, the claim
that fills the slots again shares their transaction, and so its commit. Where none wait, it would
only make the successes wait for a statement that finds nothing.

A suspect is claimed by itself, before other jobs, when its turn has come (`suspect_turns`).

A claim by a busy runner does not read what it has worked off already (`claim_fronts`).
"""

import heapq
import logging
import math
import threading
from collections.abc import Callable, Collection, Mapping, Sequence

from mlflow.server.jobs.capacity import free_slots
from mlflow.server.jobs.claim_fronts import ClaimFronts
from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.lifecycle import Lifecycle
from mlflow.server.jobs.lock_manager import LockKeys
from mlflow.server.jobs.owned_jobs import OwnedJobs
from mlflow.server.jobs.pace import POLL_SHARE, Pace
from mlflow.server.jobs.settings import JobSettings
from mlflow.server.jobs.suspect_turns import SuspectTurns
from mlflow.server.jobs.trust import trust_deadline
from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.errors import NotAllSucceeded
from mlflow.store.jobs.values import ClaimBatch, Success

_logger = logging.getLogger(__name__)

# A retry is due by the database's clock, whose resolution is a millisecond.
_DUE_MARGIN_SECONDS = 0.05


class Claimer:
    """One beat: one claim of as many due jobs as there are free slots.

    Invariant: of the types in `_exhausted`, the last claim took all that was due then, and nobody
    has woken us since.
    """

    def __init__(
        self,
        store: AbstractJobStore,
        owned: OwnedJobs,
        lifecycle: Lifecycle,
        clock: Clock,
        settings: JobSettings,
        pace: Pace,
        replica_id: str,
        backends: Collection[str | None],
        limits: Mapping[str, int],
        lock_key_for: LockKeys,
        remote_backends: Collection[str | None] = (),
        look_again: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            store: The job store.
            owned: Which slots are taken.
            lifecycle: What runs a claimed job.
            clock: For the trust deadlines and the due times of retries.
            settings: Lease and default timeout.
            pace: The poll interval.
            replica_id: Who claims.
            backends: Names served here; None stands for rows without one.
            limits: Job name to how many of its jobs may run here at once.
            lock_key_for: Lock keys of rows that were stored without one.
            remote_backends: Those of `backends` whose jobs need a job token (I8).
            look_again: Causes another beat soon.
        """
        self._store = store
        self._owned = owned
        self._lifecycle = lifecycle
        self._clock = clock
        self._settings = settings
        self._pace = pace
        self._replica_id = replica_id
        self._backends = backends
        self._limits = limits
        self._lock_key_for = lock_key_for
        self._remote_backends = remote_backends
        self._look_again = look_again
        self._suspects = SuspectTurns(owned, clock, pace)
        self._fronts = ClaimFronts(clock)
        self._exhausted: set[str] = set()
        self._draining = False
        self._claiming = threading.Lock()
        self._polls_at = math.inf
        self._retries_due: list[float] = []
        self._retries_lock = threading.Lock()

    def beat(self) -> float | None:
        """Claim and start; answer after how many seconds to look again, None for never."""
        with self._claiming:
            if self._draining:
                return None
            progressed = self._claim_due()
        return 0.0 if progressed else self._pause_until_poll()

    def drain(self) -> None:
        """Claim nothing from now on; a claim that is under way ends first."""
        with self._claiming:
            self._draining = True

    def expect_retry(self, delay_seconds: float) -> None:
        """A job of this runner will be due again then; other runners may take it first."""
        due_at = self._clock.monotonic() + delay_seconds + _DUE_MARGIN_SECONDS
        with self._retries_lock:
            heapq.heappush(self._retries_due, due_at)

    def succeed_all(self, successes: Sequence[Success]) -> bool:
        """T5 of all of these or none, and a claim for their slots if there may be work for them.

        Returns:
            Whether they are written; their slots are then free or taken again.

        Raises:
            JobStoreUnavailable, InvalidJobField: Nothing has changed.
        """
        # A claim that is under way may take its time, and does not know of these slots.
        if not self._claiming.acquire(blocking=False):
            written = self._write(successes)
            self._look_again()
            return written
        try:
            free = self._free_slots(successes)
            if self._draining:
                return self._write(successes)
            ended = {each.claim for each in successes}
            if self._suspects.has_come(free, without=ended):
                written = self._write(successes)
                self._look_again()
                return written
            if free.keys() <= self._exhausted:
                return self._write(successes)
            if self._claim(free, successes):
                self._look_again()
            return True
        except NotAllSucceeded:
            return False
        finally:
            self._claiming.release()

    def _write(self, successes: Sequence[Success]) -> bool:
        written = self._store.succeed_all(successes)
        if written:
            self._owned.free_slots(each.claim for each in successes)
        return written

    def _claim_due(self) -> bool:
        """Claim and start what is due; whether to look again at once."""
        free = self._free_slots()
        is_poll = self._clock.monotonic() >= self._polls_at
        for_suspect = bool(free) and self._suspects.has_come(free)
        due = None
        if for_suspect or (free and is_poll):
            due = self._store.due_work(self._backends, free, self._limits if for_suspect else ())
        if due is None or due.ordinary or not is_poll:
            # Whoever woke us may know of more.
            self._exhausted.clear()
        progressed = False
        if for_suspect:
            self._suspects.looked(due.suspects, free)
            progressed = self._claim_suspect(due.suspects & free.keys())
            free = self._free_slots()
        if free and (due is None or due.ordinary):
            progressed |= self._claim(free)
        return progressed

    def _claim_suspect(self, job_names: Collection[str]) -> bool:
        if not job_names:
            return False
        asked_at = self._clock.monotonic()
        batch = self._store.claim_suspect(
            self._replica_id,
            self._backends,
            job_names,
            self._settings.job_lease_ttl,
            self._lock_key_for,
            default_timeout_seconds=self._settings.default_timeout,
            token_backends=self._remote_backends,
        )
        if not batch.filled:
            return False
        self._suspects.met_one()
        self._start(batch, asked_at)
        return not batch.claimed

    def _free_slots(self, successes: Sequence[Success] = ()) -> dict[str, int]:
        ended = {each.claim for each in successes}
        return free_slots(self._limits, self._owned.running_by_name(without=ended))

    def _claim(self, free: Mapping[str, int], after: Sequence[Success] = ()) -> bool:
        """Claim and start; whether to look again at once."""
        asked_at = self._clock.monotonic()
        passed = self._fronts.of(free)
        batch = self._store.claim_batch(
            self._replica_id,
            self._backends,
            free,
            self._settings.job_lease_ttl,
            self._lock_key_for,
            default_timeout_seconds=self._settings.default_timeout,
            token_backends=self._remote_backends,
            after=after,
            created_since=passed,
        )
        unseen = self._fronts.met(batch, free, passed)
        self._exhausted = (self._exhausted | free.keys()) - batch.filled - unseen
        self._owned.free_slots(each.claim for each in after)
        self._start(batch, asked_at)
        # Either left a slot free.
        return bool(batch.canceled or unseen)

    def _start(self, batch: ClaimBatch, asked_at: float) -> None:
        trust_until = trust_deadline(asked_at, self._settings.job_lease_ttl)
        not_started = self._lifecycle.start(batch.claimed, trust_until)
        if not_started:
            self._store.abandon([job.claim for job in not_started])
        for job_id in batch.canceled:
            _logger.info("Job %s is canceled: another holds its exclusivity lock", job_id)

    def _pause_until_poll(self) -> float:
        pause = self._pause()
        self._polls_at = self._clock.monotonic() + pause * POLL_SHARE
        return pause

    def _pause(self) -> float:
        now = self._clock.monotonic()
        with self._retries_lock:
            while self._retries_due and self._retries_due[0] <= now:
                heapq.heappop(self._retries_due)
            next_due = self._retries_due[0] - now if self._retries_due else math.inf
        return min(self._pace.poll_seconds, next_due)
