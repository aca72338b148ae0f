"""Ask the backend what became of a job, then exactly one of T11, T12, T13. Keeps I3 and I11.

A backend that cannot answer is asked again later, after growing pauses; its jobs wait meanwhile,
since nobody else knows whether their work goes on. One that does not even return is waited for on a
thread of its own, and holds up no other. Nor does a row that somebody keeps locked: it is left for
the next pass, which then comes soon. Each transition names the fence that the job had when its
backend was asked, and the leader's term, so that an answer that comes too late changes nothing.

A backend that is not configured here can be asked nothing. Its jobs fail (T13) once they have
waited for a minute in vain, unless another replica runs jobs on it: then they wait for a leader
that can ask it. Who may lead should therefore have all backends.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping

from mlflow.server.jobs.backend_call import BackendFailed
from mlflow.server.jobs.backoff import delay_seconds
from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.executor import AbstractJobExecutor, JobRecoveryResult
from mlflow.server.jobs.recovery_question import RecoveryQuestion
from mlflow.server.jobs.trust import trust_deadline
from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.values import Claim, JobUpdateStatus, RecoveryCandidate, Term

_logger = logging.getLogger(__name__)

_PAUSE_BASE_SECONDS = 5.0
_PAUSE_MAX_SECONDS = 300.0
_ANSWER_SECONDS = 10.0

# In which another leader, or this one after its restart, may turn out to have the backend.
_UNCONFIGURED_SECONDS = 60.0

# What holds a row is ended by its database after a while, or has just ended by itself.
_LOCKED_PAUSE_SECONDS = 0.5

# Far more than wait at once, so that jobs of a backend that is being left alone hide no others.
_MOST_CANDIDATES = 10_000

# What the leader does with a reattached claim, and until when it may trust it.
Resume = Callable[[RecoveryCandidate, Claim, float], None]


class Recovery:
    """The leader's pass over all NEEDS_RECOVERY jobs."""

    def __init__(
        self,
        store: AbstractJobStore,
        backends: Mapping[str | None, AbstractJobExecutor],
        clock: Clock,
        replica_id: str,
        lease_seconds: float,
        max_recoveries: int,
        resume: Resume,
        answer_seconds: float = _ANSWER_SECONDS,
    ) -> None:
        """
        Args:
            store: The job store.
            backends: Backend name to executor; None is the default one.
            clock: For the pauses between questions to a backend that failed.
            replica_id: Who owns what is reattached.
            lease_seconds: Lease of what is reattached.
            max_recoveries: How often a job may be requeued (I11).
            resume: Waits for what is reattached.
            answer_seconds: How long one pass waits for a backend.
        """
        self._store = store
        self._backends = backends
        self._clock = clock
        self._replica_id = replica_id
        self._lease_seconds = lease_seconds
        self._max_recoveries = max_recoveries
        self._resume = resume
        self._answer_seconds = answer_seconds
        self._pauses: dict[str | None, tuple[int, float]] = {}
        self._questions: dict[str | None, RecoveryQuestion] = {}
        self._waiting_elsewhere: set[str] = set()
        self._passed_over = False

    @property
    def again_seconds(self) -> float | None:
        """After how long another pass is due by itself; None if it is not."""
        return _LOCKED_PAUSE_SECONDS if self._passed_over else None

    def run(self, term: Term) -> int:
        """Recover what can be recovered now; answer how many rows changed."""
        self._passed_over = False
        groups: dict[str | None, list[RecoveryCandidate]] = defaultdict(list)
        for candidate in self._store.recovery_candidates(_MOST_CANDIDATES):
            groups[candidate.backend].append(candidate)
        for backend in self._questions:
            groups[backend]
        return sum(self._recover(backend, group, term) for backend, group in groups.items())

    def _recover(self, backend: str | None, candidates: list[RecoveryCandidate], term: Term) -> int:
        executor = self._backends.get(backend)
        if executor is None:
            return self._fail_unconfigured(backend, candidates, term)
        return sum(
            self._act(candidate, answer, term)
            for candidate, answer in self._ask(backend, executor, candidates)
        )

    def _fail_unconfigured(
        self, backend: str, candidates: list[RecoveryCandidate], term: Term
    ) -> int:
        if self._store.is_served(backend):
            if backend not in self._waiting_elsewhere:
                self._waiting_elsewhere.add(backend)
                _logger.warning(
                    "%d jobs of backend %r wait for a leader that has it: it is not configured "
                    "here, and another server runs jobs on it",
                    len(candidates),
                    backend,
                )
            return 0
        self._waiting_elsewhere.discard(backend)
        error = (
            f"The job's executor backend {backend!r} is not configured on the server that leads, "
            "and no other server runs jobs on it."
        )
        return sum(
            self._fail(each, error, term, _UNCONFIGURED_SECONDS)
            for each in self._unlocked(candidates)
        )

    def _ask(
        self,
        backend: str | None,
        executor: AbstractJobExecutor,
        candidates: list[RecoveryCandidate],
    ) -> list[tuple[RecoveryCandidate, JobRecoveryResult]]:
        failures, paused_until = self._pauses.get(backend, (0, 0.0))
        question = self._questions.get(backend)
        if question is None:
            if failures and self._clock.monotonic() < paused_until:
                return []
            candidates = self._unlocked(candidates)
            if not candidates:
                return []
            question = self._questions[backend] = RecoveryQuestion(executor, candidates)
            if not question.wait(self._answer_seconds):
                _logger.warning("Backend %r takes its time to recover its jobs", backend)
        if not question.wait(0):
            return []
        del self._questions[backend]
        try:
            answers = question.answers()
        except BackendFailed as e:
            pause = delay_seconds(failures, _PAUSE_BASE_SECONDS, _PAUSE_MAX_SECONDS)
            self._pauses[backend] = (failures + 1, self._clock.monotonic() + pause)
            _logger.warning("Backend %r cannot recover its jobs yet: %s", backend, e)
            return []
        self._pauses.pop(backend, None)
        return answers

    def _unlocked(self, candidates: list[RecoveryCandidate]) -> list[RecoveryCandidate]:
        free = self._store.unlocked([each.job_id for each in candidates])
        self._passed_over |= len(free) < len(candidates)
        return [each for each in candidates if each.job_id in free]

    def _act(self, candidate: RecoveryCandidate, answer: JobRecoveryResult, term: Term) -> bool:
        match answer.action:
            case "reattach":
                return self._reattach(candidate, term)
            case "requeue":
                status = self._store.requeue(
                    candidate, term, self._max_recoveries, answer.error_message
                )
                return _applied(status, candidate, "requeued")
            case "fail":
                error = answer.error_message or "The backend lost the job."
                return self._fail(candidate, error, term)
            case unknown:
                _logger.warning("Job %s: unknown recovery action %r", candidate.job_id, unknown)
                return False

    def _reattach(self, candidate: RecoveryCandidate, term: Term) -> bool:
        asked_at = self._clock.monotonic()
        claim = self._store.reattach(candidate, self._replica_id, self._lease_seconds, term)
        if claim is None:
            return False
        _logger.info("Job %s (fence %d) is reattached", claim.job_id, claim.fence)
        self._resume(candidate, claim, trust_deadline(asked_at, self._lease_seconds))
        return True

    def _fail(
        self, candidate: RecoveryCandidate, error: str, term: Term, after_seconds: float = 0.0
    ) -> bool:
        status = self._store.fail_recovery(candidate, error, term, after_seconds)
        return _applied(status, candidate, "failed")


def _applied(status: JobUpdateStatus, candidate: RecoveryCandidate, word: str) -> bool:
    if status is not JobUpdateStatus.APPLIED:
        return False
    _logger.info("Job %s (fence %d) is %s by recovery", candidate.job_id, candidate.fence, word)
    return True
