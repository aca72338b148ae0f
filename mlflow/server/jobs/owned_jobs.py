"""The jobs that this runner owns now, for what renews, cancels, fences and counts them."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import Enum

from mlflow.server.jobs.backend_call import BackendFailed, backend_call
from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.executor import AbstractJobExecutor
from mlflow.store.jobs.values import Claim

_logger = logging.getLogger(__name__)


class End(Enum):
    """Why a job's work is to stop before it has a result.

    ABANDONED: this runner shuts down; what has no result by then is left to recovery (T10).
    CANCELED: its row was canceled; its owner confirms once the work has stopped.
    LOST: the claim is no longer ours, or can no longer be trusted; nothing is written (I1).
    """

    ABANDONED = "abandoned"
    CANCELED = "canceled"
    LOST = "lost"

    @property
    def rank(self) -> int:
        """A later end replaces an earlier one, never the other way."""
        return [*End].index(self)


class OwnedJob:
    """One claim of this runner, with the executor that does its work.

    Invariant: `end` only ever moves on in the order ABANDONED, CANCELED, LOST.
    """

    def __init__(
        self,
        claim: Claim,
        job_name: str,
        executor: AbstractJobExecutor,
        trust_until: float,
        is_suspect: bool = False,
    ) -> None:
        """
        Args:
            claim: The claim.
            job_name: Its job type, whose slot it takes.
            executor: Where its work is.
            trust_until: Monotonic instant after which the claim may be another's.
            is_suspect: Whether it may be what runners die of (I11).
        """
        self.claim = claim
        self.job_name = job_name
        self.is_suspect = is_suspect
        self.trust_until = trust_until
        # Set once the work is over: the answer to the write then tells what became of the row.
        self.recording = False
        # Until its result is written.
        self.takes_slot = True
        self.gone = threading.Event()
        self.executor = executor
        self._lock = threading.Lock()
        self._end: End | None = None
        self._kill_due = False
        self._is_killing = False

    @property
    def end(self) -> End | None:
        """Why the work is to stop; None while it may go on."""
        return self._end

    def stop(self, end: End) -> None:
        """Record why the work stops and, unless it is only abandoned, kill it.

        A backend that cannot be reached is asked again by `kill_if_due`.
        """
        with self._lock:
            if self._end is not None and end.rank <= self._end.rank:
                return
            self._end = end
            self._kill_due = end is not End.ABANDONED
        self.kill_if_due()

    def kill_if_due(self) -> None:
        """Ask the backend to stop the work if that was wanted and has not succeeded yet.

        Waits for the answer only where the work would end with this process.
        """
        with self._lock:
            if not self._kill_due or self._is_killing:
                return
            self._kill_due, self._is_killing = False, True
        if self.executor.ends_with_runner:
            self._kill()
            return
        name = f"mlflow-job-kill-{self.claim.job_id}"
        try:
            # It may never answer, and who asks has other jobs to see to.
            threading.Thread(target=self._kill, name=name, daemon=True).start()
        except RuntimeError as e:
            self._could_not_kill(e)

    def kill_again(self) -> None:
        """Repeat a kill that may have come before the backend knew the job."""
        with self._lock:
            self._kill_due = self._end in (End.CANCELED, End.LOST)
        self.kill_if_due()

    def _kill(self) -> None:
        while True:
            try:
                with backend_call():
                    self.executor.cancel_job(self.claim.job_id)
            except BackendFailed as e:
                self._could_not_kill(e)
                return
            with self._lock:
                # Asked for again meanwhile.
                self._is_killing, self._kill_due = self._kill_due, False
                if not self._is_killing:
                    return

    def _could_not_kill(self, error: Exception) -> None:
        with self._lock:
            self._kill_due, self._is_killing = True, False
        _logger.warning(
            "Job %s (fence %d) could not be stopped yet: %s",
            self.claim.job_id,
            self.claim.fence,
            error,
        )


class OwnedJobs:
    """All owned jobs of this runner, by claim.

    Invariant: `_taken` counts the slots that jobs in `_jobs` take, and `_by_id` has the same jobs.
    So what one job costs here does not grow with how many run beside it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._jobs: dict[Claim, OwnedJob] = {}
        self._by_id: dict[str, list[OwnedJob]] = {}
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._emptied = threading.Event()
        self._emptied.set()
        self._after_add: list[Callable[[Sequence[OwnedJob]], None]] = []

    def call_after_add(self, callback: Callable[[Sequence[OwnedJob]], None]) -> None:
        """Have this called with jobs that are owned anew, before their work begins."""
        self._after_add.append(callback)

    def add(self, *jobs: OwnedJob) -> None:
        """Begin to own."""
        if not jobs:
            return
        with self._lock:
            for job in jobs:
                self._jobs[job.claim] = job
                self._by_id.setdefault(job.claim.job_id, []).append(job)
                self._taken[job.job_name] += 1
            self._emptied.clear()
        for callback in self._after_add:
            callback(jobs)

    def remove(self, claim: Claim) -> None:
        """Own no more: its work has stopped, and what was to be written is written."""
        with self._lock:
            if job := self._jobs.pop(claim, None):
                self._forget(job)
                job.gone.set()
            if not self._jobs:
                self._emptied.set()

    def free_slots(self, claims: Iterable[Claim]) -> None:
        """The results of these are written; what is left to do for them takes no slot."""
        with self._lock:
            for claim in claims:
                if job := self._jobs.get(claim):
                    self._free_slot(job)

    def get(self, claim: Claim) -> OwnedJob | None:
        """The owned job of this claim, if it still is one."""
        with self._lock:
            return self._jobs.get(claim)

    def earlier_claims(self, claim: Claim) -> list[OwnedJob]:
        """Lost claims of the same job whose work here has not stopped yet."""
        with self._lock:
            of_job = self._by_id.get(claim.job_id, ())
            return [job for job in of_job if job.claim.fence < claim.fence]

    def all(self) -> list[OwnedJob]:
        """A snapshot."""
        with self._lock:
            return [*self._jobs.values()]

    def held_claims(self) -> list[Claim]:
        """Those that are neither canceled nor lost, as far as is known here."""
        return [job.claim for job in self.all() if job.end in (None, End.ABANDONED)]

    def running_by_name(self, without: Collection[Claim] = ()) -> Counter[str]:
        """How many slots of each job type are taken, by others than these."""
        with self._lock:
            taken = self._taken.copy()
            for claim in without:
                job = self._jobs.get(claim)
                if job is not None and job.takes_slot:
                    taken[job.job_name] -= 1
        return +taken

    def has_suspect(self, without: Collection[Claim] = ()) -> bool:
        """Whether a suspect is at work here, other than these."""
        return any(
            job.is_suspect for job in self.all() if job.takes_slot and job.claim not in without
        )

    def trust(self, claims: Collection[Claim], until: float) -> None:
        """These claims have been renewed: they are ours until this monotonic instant."""
        for claim in claims:
            if job := self.get(claim):
                job.trust_until = until

    def wait_until_empty(self, timeout_seconds: float) -> bool:
        """Wait for the last owned job to go; false when the time was over first."""
        return self._clock.wait(self._emptied, timeout_seconds)

    def _forget(self, job: OwnedJob) -> None:
        self._free_slot(job)
        of_job = self._by_id[job.claim.job_id]
        of_job.remove(job)
        if not of_job:
            del self._by_id[job.claim.job_id]

    def _free_slot(self, job: OwnedJob) -> None:
        if job.takes_slot:
            job.takes_slot = False
            self._taken[job.job_name] -= 1
