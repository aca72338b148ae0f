"""What a backend is asked about its lost jobs, on a thread of its own: it may never answer."""

import threading
from collections.abc import Sequence

from mlflow.server.jobs.backend_call import BackendFailed, backend_call
from mlflow.server.jobs.executor import AbstractJobExecutor, JobRecoveryResult
from mlflow.store.jobs.values import RecoveryCandidate


class RecoveryQuestion:
    """One call of `recover_jobs`, begun with the question's making.

    Its answers are about the candidates as they were then: under the fences that they had.
    """

    def __init__(
        self, executor: AbstractJobExecutor, candidates: Sequence[RecoveryCandidate]
    ) -> None:
        self._executor = executor
        self._candidates = {candidate.job_id: candidate for candidate in candidates}
        self._answered = threading.Event()
        self._results: list[JobRecoveryResult] = []
        self._failure: BackendFailed | None = None
        # A daemon: a backend that hangs must not keep a runner from ending.
        threading.Thread(target=self._ask, name="mlflow-job-recovery-question", daemon=True).start()

    def wait(self, timeout_seconds: float) -> bool:
        """Whether the backend has answered, after so many seconds at most."""
        return self._answered.wait(timeout_seconds)

    def answers(self) -> list[tuple[RecoveryCandidate, JobRecoveryResult]]:
        """Each candidate that the backend said something of, with what it said.

        Raises:
            BackendFailed: It raised instead.
        """
        if self._failure is not None:
            raise self._failure
        said = {result.job_id: result for result in self._results}
        return [(each, said[id_]) for id_, each in self._candidates.items() if id_ in said]

    def _ask(self) -> None:
        try:
            with backend_call():
                self._results = list(self._executor.recover_jobs([*self._candidates]))
        except BackendFailed as e:
            self._failure = e
        finally:
            self._answered.set()
