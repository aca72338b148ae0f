"""One claimed job: give it to its backend, wait, record what became of it (T5, T6, T7, T10).

Each job has a thread for itself while it runs, since an executor's wait blocks; a success that is
written with others leaves it. Whatever happens there, the row ends in one of five ways: the
transition that the result asks for; the one that a remote workload has reported by then; the
confirmation of a cancellation; T10, when nobody here knows how the work ended; or nothing at all,
when the claim is lost (I1).
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from mlflow.entities._job_status import JobStatus
from mlflow.exceptions import MlflowException
from mlflow.server.jobs.awaited_report import await_report, without_report
from mlflow.server.jobs.backend_call import BackendFailed, backend_call
from mlflow.server.jobs.backoff import delay_seconds
from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.errors import SealedEnvironmentUnreadable
from mlflow.server.jobs.executor import JobExecutionContext, JobResult
from mlflow.server.jobs.functions import JobFunctionMetadata
from mlflow.server.jobs.job_threads import JobThreads
from mlflow.server.jobs.outcome import Fail, Outcome, Retry, RetryPolicy, Succeed, TimeOut, decide
from mlflow.server.jobs.owned_jobs import End, OwnedJob, OwnedJobs
from mlflow.server.jobs.sealed_environment import open_sealed
from mlflow.server.jobs.success_writes import Ended, SuccessWrites
from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.errors import InvalidJobField, JobStoreUnavailable
from mlflow.store.jobs.values import CheckpointMove, Claim, ClaimedJob, JobUpdateStatus, Success
from mlflow.utils.mlflow_tags import (
    MLFLOW_LATEST_ONLINE_SCORING_SESSION_CHECKPOINT,
    MLFLOW_LATEST_ONLINE_SCORING_TRACE_CHECKPOINT,
)
from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME

_logger = logging.getLogger(__name__)

T = TypeVar("T")

# The lease then runs out by itself, and the sweep finds the row.
_BROKE_OFF = "Job %s (fence %d) broke off"
_WRITE_PAUSE_BASE_SECONDS = 0.2
_WRITE_PAUSE_MAX_SECONDS = 5.0

_CHECKPOINT_TAGS = {
    "run_online_trace_scorer": MLFLOW_LATEST_ONLINE_SCORING_TRACE_CHECKPOINT,
    "run_online_session_scorer": MLFLOW_LATEST_ONLINE_SCORING_SESSION_CHECKPOINT,
}


@dataclass(frozen=True)
class Surroundings:
    """What every job of this runner is told about its server.

    Attributes:
        tracking_uri: Where jobs read and write; the backend store itself for jobs on this host.
        gateway_uri: Where `gateway:/` models are reached.
        workspaces_enabled: Whether jobs run in a workspace.
        default_timeout: Timeout of exclusive jobs without one, in seconds.
        retry_policy: Bounds and waits of retries.
        remote_backends: Backends whose jobs reach this server over HTTP only, with a job token.
        remote_tracking_uri: Where those jobs read, write and report.
        remote_gateway_uri: Where those reach `gateway:/` models.
    """

    tracking_uri: str
    gateway_uri: str | None
    workspaces_enabled: bool
    default_timeout: float
    retry_policy: RetryPolicy
    remote_backends: frozenset[str | None] = frozenset()
    remote_tracking_uri: str | None = None
    remote_gateway_uri: str | None = None


class _Reported(Exception):
    """The job's workload has said itself how the job ended."""


class Lifecycle:
    """Runs claimed jobs to their end."""

    def __init__(
        self,
        store: AbstractJobStore,
        owned: OwnedJobs,
        backends: Mapping[str | None, Any],
        clock: Clock,
        surroundings: Surroundings,
        metadata_of: Callable[[str], JobFunctionMetadata],
        on_end: Callable[[ClaimedJob, Outcome | None], None],
        succeed_all: Callable[[Sequence[Success]], bool],
        on_slot_free: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            store: The job store.
            owned: Where the jobs under way are registered.
            backends: Backend name to executor; None is the default one.
            clock: For the pauses between attempts to write a result.
            surroundings: What every job is told.
            metadata_of: Job name to what its function declares; raises MlflowException if unknown.
            on_end: Told each job that is owned no more, with the transition written, if any.
            succeed_all: Writes all of some successes, or none, and sees to their slots.
            on_slot_free: Called after the end of a job that was not among those.
        """
        self._store = store
        self._owned = owned
        self._backends = backends
        self._clock = clock
        self._surroundings = surroundings
        self._metadata_of = metadata_of
        self._on_end = on_end
        self._on_slot_free = on_slot_free
        self._threads = JobThreads()
        self._successes = SuccessWrites(
            succeed_all, self._told_written, self._end_alone, self._begin_write
        )

    def start(
        self, jobs: Sequence[ClaimedJob], trust_until: float, submit: bool = True
    ) -> list[ClaimedJob]:
        """Own the claims and run each job on a thread of its own.

        Args:
            jobs: What was claimed or reattached.
            trust_until: Monotonic instant until which the claims are ours without a renewal.
            submit: False when the backend has the work already (T11).

        Returns:
            Those that no thread can be started for; they are not owned.
        """
        owned = [
            OwnedJob(
                job.claim, job.job_name, self._backends[job.backend], trust_until, job.is_suspect
            )
            for job in jobs
        ]
        self._owned.add(*owned)
        return [
            job
            for job, its in zip(jobs, owned, strict=True)
            if not self._begins(job, lambda job=job, its=its: self.run(job, its, submit))
        ]

    def _begins(self, job: ClaimedJob, call: Callable[[], None]) -> bool:
        try:
            self._threads.run(_thread_name(job), call)
        except RuntimeError as e:
            _logger.error("Job %s (fence %d): %s", job.claim.job_id, job.claim.fence, e)
            self._owned.remove(job.claim)
            return False
        return True

    def run(self, job: ClaimedJob, owned: OwnedJob, submit: bool = True) -> None:
        """Run an owned job to its end, or to where its success waits to be written with others."""
        try:
            outcome = self._outcome_of_work(job, owned, submit)
        except _Reported:
            self._end(job, lambda: self._reported(job, owned))
        except Exception:
            _logger.exception(_BROKE_OFF, job.claim.job_id, job.claim.fence)
            self._end(job, lambda: None)
        else:
            owned.recording = True
            if self._goes_with_others(job, owned, outcome):
                self._successes.put(Ended(job, owned, outcome))
            else:
                self._end(job, lambda: self._record(job, owned, outcome))

    def _end(self, job: ClaimedJob, record: Callable[[], Outcome | None]) -> None:
        """Record how a job ended, by itself, and own it no more."""
        written = None
        try:
            written = record()
        except Exception:
            _logger.exception(_BROKE_OFF, job.claim.job_id, job.claim.fence)
        finally:
            self._let_go(job, written)
            self._on_slot_free()

    def _end_alone(self, ended: Ended) -> None:
        """Record a success that could not be written with others, on a thread of its own."""
        job = ended.job

        def end() -> None:
            self._end(job, lambda: self._record(job, ended.owned, ended.outcome))

        if not self._has_begun(_thread_name(job), end):
            end()

    def _begin_write(self, write: Callable[[], None]) -> bool:
        return self._has_begun("mlflow-job-successes", write)

    def _has_begun(self, name: str, call: Callable[[], None]) -> bool:
        try:
            self._threads.run(name, call)
        except RuntimeError:
            return False
        return True

    def _told_written(self, ended: Ended) -> None:
        _log_end(ended.job, ended.owned, ended.outcome)
        self._let_go(ended.job, ended.outcome)

    def _let_go(self, job: ClaimedJob, written: Outcome | None) -> None:
        self._owned.remove(job.claim)
        self._on_end(job, written)

    def _outcome_of_work(self, job: ClaimedJob, owned: OwnedJob, submit: bool) -> Outcome | None:
        if submit and (refusal := self._submit(job, owned)):
            return refusal
        if owned.end is not None:
            # The kill may have come before the backend knew the job.
            owned.kill_again()
        try:
            with backend_call():
                result = owned.executor.wait_for_job(job.claim.job_id)
        except BackendFailed as e:
            _logger.warning(
                "How job %s (fence %d) ended is not known: %s", job.claim.job_id, job.claim.fence, e
            )
            return None
        if job.backend in self._surroundings.remote_backends:
            result = self._unreported(job, owned, result)
        return decide(result, job.retry_count, self._surroundings.retry_policy)

    def _unreported(self, job: ClaimedJob, owned: OwnedJob, result: JobResult) -> JobResult:
        """What to record of a remote workload that has ended and did not report."""
        owned.recording = True

        def look() -> dict[Claim, JobStatus | None]:
            return self._persist(owned, lambda: self._store.not_running([job.claim])) or {}

        def pause(seconds: float) -> bool:
            return owned.end is not None or self._clock.wait(owned.gone, seconds)

        if owned.end is None and await_report(job.claim, look, self._clock.monotonic, pause):
            raise _Reported
        return without_report(result)

    def _reported(self, job: ClaimedJob, owned: OwnedJob) -> Outcome | None:
        """The transition that the workload's report has made, as far as it still shows."""
        made = self._persist(owned, lambda: self._made_by_report(job))
        _logger.info("Job %s (fence %d) has reported its end", job.claim.job_id, job.claim.fence)
        return made

    def _made_by_report(self, job: ClaimedJob) -> Outcome | None:
        # Changes nothing unless the row was canceled under this very fence.
        self._store.confirm_canceled(job.claim)
        row = self._store.get_job(job.claim.job_id)
        match row.status:
            case JobStatus.SUCCEEDED:
                return Succeed(row.result)
            case JobStatus.TIMEOUT:
                return TimeOut(row.error_message)
            case JobStatus.FAILED:
                return Fail(row.error_message or "")
        return None

    def _submit(self, job: ClaimedJob, owned: OwnedJob) -> Fail | None:
        for earlier in self._owned.earlier_claims(job.claim):
            # An executor knows jobs by id alone, so the work of a lost claim has to be gone first.
            self._clock.wait(earlier.gone, None)
        if owned.end is not None:
            return Fail(f"The job was {owned.end.value} before it started.")
        try:
            metadata = self._metadata_of(job.job_name)
            context = self._context(job)
            with backend_call():
                owned.executor.submit_job(
                    job.claim.job_id,
                    job.job_name,
                    metadata.fn_fullname,
                    job.params,
                    context,
                    metadata.python_env,
                    self._timeout(job, metadata),
                )
        except SealedEnvironmentUnreadable as e:
            return Fail(e.message)
        except MlflowException as e:
            return Fail(f"The job function cannot be loaded: {e.message}")
        except BackendFailed as e:
            return Fail(f"The job could not be started: {e}")
        _logger.info(
            "Job %s (fence %d) started: %s", job.claim.job_id, job.claim.fence, job.job_name
        )
        return None

    def _context(self, job: ClaimedJob) -> JobExecutionContext:
        workspace = None
        if self._surroundings.workspaces_enabled:
            workspace = job.workspace or DEFAULT_WORKSPACE_NAME
        extra_envs = None
        if job.sealed_environment:
            extra_envs = open_sealed(job.claim.job_id, job.sealed_environment)
        told = self._surroundings
        remote = job.backend in told.remote_backends
        return JobExecutionContext(
            job_id=job.claim.job_id,
            tracking_uri=told.remote_tracking_uri if remote else told.tracking_uri,
            gateway_uri=told.remote_gateway_uri if remote else told.gateway_uri,
            token=job.token,
            workspace=workspace,
            fence=job.claim.fence,
            creator=job.creator,
            extra_envs=extra_envs,
        )

    def _timeout(self, job: ClaimedJob, metadata: JobFunctionMetadata) -> float | None:
        # Stock MLflow stores any number, also those that no clock can wait for.
        if job.timeout is not None and job.timeout <= threading.TIMEOUT_MAX:
            return job.timeout
        return self._surroundings.default_timeout if metadata.exclusive else None

    def _record(self, job: ClaimedJob, owned: OwnedJob, outcome: Outcome | None) -> Outcome | None:
        """The transition that was written, if any."""
        written = self._written(job, owned, outcome)
        _log_end(job, owned, written)
        return written

    def _written(self, job: ClaimedJob, owned: OwnedJob, outcome: Outcome | None) -> Outcome | None:
        if owned.end is End.CANCELED:
            self._persist(owned, lambda: self._store.confirm_canceled(job.claim))
            return None
        interrupted = owned.end is End.ABANDONED and not isinstance(outcome, Succeed)
        if outcome is None or interrupted:
            # I11: what this runner did not stop itself was lost.
            lost = owned.end is not End.ABANDONED
            self._persist(owned, lambda: self._store.abandon([job.claim], lost=lost))
            return None
        try:
            status = self._persist(owned, lambda: self._write(job, outcome))
        except InvalidJobField as e:
            outcome = Fail(f"The job's result cannot be stored: {e.message}")
            status = self._persist(owned, lambda: self._write(job, outcome))
        if status is JobUpdateStatus.APPLIED:
            return outcome
        # Changes nothing unless the row was canceled under this very fence.
        self._persist(owned, lambda: self._store.confirm_canceled(job.claim))
        return None

    def _goes_with_others(self, job: ClaimedJob, owned: OwnedJob, outcome: Outcome | None) -> bool:
        if not isinstance(outcome, Succeed) or owned.end in (End.CANCELED, End.LOST):
            return False
        # A transaction that gives locks back before it takes others could wait in a circle.
        if job.lock_key is not None:
            return False
        # I5: a checkpoint moves in the transaction of its own job's success.
        if checkpoint_move(job.job_name, job.params):
            return False
        return self._successes.takes(outcome)

    def _write(self, job: ClaimedJob, outcome: Outcome) -> JobUpdateStatus:
        match outcome:
            case Succeed(result=result):
                checkpoint = checkpoint_move(job.job_name, job.params)
                return self._store.succeed(job.claim, result, checkpoint)
            case TimeOut(error=error):
                return self._store.time_out(job.claim, error)
            case Retry(error=error, delay=delay):
                return self._store.retry(job.claim, error, delay)
            case Fail(error=error):
                return self._store.fail(job.claim, error)

    def _persist(self, owned: OwnedJob, verb: Callable[[], T]) -> T | None:
        """Repeat a write until the database has taken it, or the claim is lost (I1)."""
        attempt = 0
        while owned.end is not End.LOST:
            try:
                return verb()
            except JobStoreUnavailable as e:
                _logger.warning(
                    "The end of job %s (fence %d) could not be written yet: %s",
                    owned.claim.job_id,
                    owned.claim.fence,
                    e.message,
                )
                pause = delay_seconds(attempt, _WRITE_PAUSE_BASE_SECONDS, _WRITE_PAUSE_MAX_SECONDS)
                self._clock.wait(owned.gone, pause)
                attempt += 1
        return None


def _thread_name(job: ClaimedJob) -> str:
    return f"mlflow-job-{job.claim.job_id}"


def checkpoint_move(job_name: str, params: dict[str, Any]) -> CheckpointMove | None:
    """The checkpoint that rides in T5: only of online scoring jobs, and of their own experiment."""
    tag = _CHECKPOINT_TAGS.get(job_name)
    asked = params.get("next_checkpoint")
    if tag is None or not isinstance(asked, dict):
        return None
    experiment_id = params.get("experiment_id")
    value = asked.get("value")
    if asked.get("tag") != tag or asked.get("experiment_id") != experiment_id:
        return None
    if not isinstance(experiment_id, str) or not isinstance(value, dict):
        return None
    return CheckpointMove(experiment_id, tag, value)


def _log_end(job: ClaimedJob, owned: OwnedJob, written: Outcome | None) -> None:
    match written:
        case Succeed():
            end = "succeeded"
        case TimeOut():
            end = "timed out"
        case Retry(delay=delay):
            end = f"failed for now, due again in {delay:.1f} s"
        case Fail():
            end = "failed"
        case None:
            end = owned.end.value if owned.end else "left to recovery"
    _logger.info("Job %s (fence %d) ended: %s", job.claim.job_id, job.claim.fence, end)
