"""Stand-ins for what tests move by hand: time, backends and wake-ups."""

import queue
import threading
from collections.abc import Callable, Sequence

from mlflow.entities._job_status import JobStatus
from mlflow.server.jobs.errors import ExecutorStopped
from mlflow.server.jobs.executor import (
    AbstractJobExecutor,
    JobExecutorConfig,
    JobRecoveryResult,
    JobResult,
)
from mlflow.server.jobs.owned_jobs import OwnedJob, OwnedJobs
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.jobs.values import Claim, ClaimedJob, Term

PATIENCE_SECONDS = 20
LEASE_SECONDS = 60.0


class FakeClock:
    """Monotonic time that moves when told; waits end at once, as if the time had passed.

    A wait without a limit is a real one, and `blocked` is set while there has been one.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.blocked = threading.Event()

    def monotonic(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def wait(self, event: threading.Event, timeout_seconds: float | None) -> bool:
        if timeout_seconds is None:
            self.blocked.set()
            return event.wait(PATIENCE_SECONDS)
        if not event.is_set():
            self.now += timeout_seconds
        return event.is_set()


class ScriptedExecutor(AbstractJobExecutor):
    """A backend whose jobs end when and how the test says; it records what it was asked.

    `waits` is how many threads wait for the end of a job now.
    """

    def __init__(self) -> None:
        super().__init__(JobExecutorConfig())
        self.submitted: dict[str, dict] = {}
        self.canceled: list[str] = []
        self.recovered: list[list[str]] = []
        self.on_submit: Callable[[str], None] = lambda job_id: None
        self.on_cancel: Callable[[str], None] = self._end_as_canceled
        self.on_recover: Callable[[list[str]], list[JobRecoveryResult]] = lambda job_ids: [
            JobRecoveryResult(job_id, "requeue") for job_id in job_ids
        ]
        self.has_submitted = threading.Event()
        self.has_canceled = threading.Event()
        self.is_stopped = False
        self.waits = 0
        self._submissions = threading.Semaphore(0)
        self._results: dict[str, queue.Queue] = {}
        self._lock = threading.Lock()

    @property
    def ends_with_runner(self) -> bool:
        return True

    def submit_job(
        self, job_id, job_name, fn_fullname, params, context, python_env=None, timeout=None
    ) -> None:
        self.on_submit(job_id)
        self.submitted[job_id] = {
            "job_name": job_name,
            "fn_fullname": fn_fullname,
            "params": params,
            "context": context,
            "timeout": timeout,
        }
        self.has_submitted.set()
        self._submissions.release()

    def wait_for_job(self, job_id: str) -> JobResult:
        with self._lock:
            self.waits += 1
        try:
            ending = self._result_of(job_id).get(timeout=PATIENCE_SECONDS)
        finally:
            with self._lock:
                self.waits -= 1
        if isinstance(ending, Exception):
            raise ending
        return ending

    def cancel_job(self, job_id: str) -> None:
        self.canceled.append(job_id)
        self.on_cancel(job_id)
        self.has_canceled.set()

    def recover_jobs(self, unfinished_job_ids: list[str]) -> list[JobRecoveryResult]:
        self.recovered.append(unfinished_job_ids)
        return self.on_recover(unfinished_job_ids)

    def stop_executor(self) -> None:
        self.is_stopped = True
        for job_id in self.submitted:
            self.end(job_id, ExecutorStopped(job_id))

    def await_submissions(self, count: int) -> bool:
        """Wait for so many further submissions."""
        return all(self._submissions.acquire(timeout=PATIENCE_SECONDS) for _ in range(count))

    def end(self, job_id: str, ending: JobResult | Exception) -> None:
        """Let the job's wait return this result, or raise this exception."""
        self._result_of(job_id).put(ending)

    def _end_as_canceled(self, job_id: str) -> None:
        if job_id in self.submitted:
            self.end(job_id, JobResult(JobStatus.CANCELED))

    def _result_of(self, job_id: str) -> queue.Queue:
        with self._lock:
            return self._results.setdefault(job_id, queue.Queue())


class HangingExecutor(ScriptedExecutor):
    """A scripted backend beyond this host, which answers a cancellation when the test ends it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked = threading.Event()
        self.answers = threading.Event()
        self.on_cancel = self._hang

    @property
    def ends_with_runner(self) -> bool:
        return False

    def _hang(self, job_id: str) -> None:
        self.is_asked.set()
        self.answers.wait(PATIENCE_SECONDS)


class RemoteExecutor(ScriptedExecutor):
    """A scripted backend whose jobs reach the server over HTTP alone, with a job token."""

    def __init__(
        self,
        direct_models: bool = False,
        runs: Callable[[str], bool] = lambda job_name: True,
    ) -> None:
        super().__init__()
        self._direct_models = direct_models
        self._runs = runs

    @property
    def remote_execution(self) -> bool:
        return True

    @property
    def supports_direct_provider_models(self) -> bool:
        return self._direct_models

    def supports_job(self, job_name: str, params: dict) -> bool:
        return self._runs(job_name)


class RecordingLifecycle:
    """Owns what it is given and runs nothing."""

    def __init__(self, owned: OwnedJobs) -> None:
        self._owned = owned
        self.started: list[ClaimedJob] = []
        self.has_threads = True

    def start(self, jobs: Sequence[ClaimedJob], trust_until: float) -> Sequence[ClaimedJob]:
        if not self.has_threads:
            return jobs
        self.started += jobs
        for job in jobs:
            executor = ScriptedExecutor()
            self._owned.add(
                OwnedJob(job.claim, job.job_name, executor, trust_until, job.is_suspect)
            )
        return []


def succeeded(result: str | None = "null") -> JobResult:
    return JobResult(JobStatus.SUCCEEDED, result=result)


def failed(error: str = "broken", transient: bool = False) -> JobResult:
    return JobResult(JobStatus.FAILED, error_message=error, is_transient_error=transient)


def reclaim(store: SqlAlchemyJobStore, job_name: str = "sample", replica: str = "a") -> ClaimedJob:
    """Claim the only due job of a name, be it a suspect or not."""
    backends = {None, "local", "scripted"}
    how = LEASE_SECONDS, lambda *_: None
    claimed = store.claim_batch(replica, backends, {job_name: 1}, *how).claimed
    [job] = claimed or store.claim_suspect(replica, backends, [job_name], *how).claimed
    return job


def pass_lease(store: SqlAlchemyJobStore, seconds: float = LEASE_SECONDS + 1) -> None:
    """Let this much of the database's time go by."""
    store.clock_offset_ms += int(seconds * 1000)


def take_over(
    store: SqlAlchemyJobStore, claim: Claim, term: Term, replica: str = "b"
) -> ClaimedJob:
    """Let the lease of a claim run out and another replica recover and claim its job."""
    job_name = store.get_job(claim.job_id).job_name
    pass_lease(store)
    assert store.sweep(term) == 1
    [candidate] = store.recovery_candidates()
    store.requeue(candidate, term, max_recoveries=3)
    return reclaim(store, job_name, replica)
