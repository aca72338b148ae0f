"""MLflow 3.18's method names, for code that was written for them; ours has the verbs instead.

They name a job and no fence, so whoever calls them vouches for owning the job. What they end, they
end for good: a claim that another runner holds by then is refused like any other late one.
"""

import math
from typing import Any

from sqlalchemy import ColumnElement, and_, null, or_, select
from sqlalchemy.engine import Connection

from mlflow.entities._job_status import JobStatus
from mlflow.environment_variables import (
    MLFLOW_SERVER_JOB_TRANSIENT_ERROR_MAX_RETRIES,
    MLFLOW_SERVER_JOB_TRANSIENT_ERROR_RETRY_BASE_DELAY,
    MLFLOW_SERVER_JOB_TRANSIENT_ERROR_RETRY_MAX_DELAY,
)
from mlflow.store.jobs import lock_rows, statements, texts, transitions
from mlflow.store.jobs.errors import (
    InvalidJobField,
    InvalidJobTransition,
    JobNotFound,
    JobTerminalStateUpdateException,
)
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.transitions import OWNED, TERMINAL, UNFINISHED, Transition
from mlflow.store.jobs.values import Claim, JobUpdateStatus

_RUNNING = frozenset({JobStatus.RUNNING})
_ENDING = {
    JobStatus.SUCCEEDED: transitions.SUCCEED,
    JobStatus.FAILED: transitions.FAIL,
    JobStatus.TIMEOUT: transitions.TIME_OUT,
    JobStatus.CANCELED: transitions.CONFLICT,
}


class LegacyVerbs:
    """Mixed into the SQL store, whose transactions and visibility it uses."""

    def claim_job(self, job_id: str, lease_duration: float | None = None) -> JobUpdateStatus:
        """T2 of one job, by nobody in particular. `lease_duration` is in seconds."""
        lease_ms = _lease_ms(lease_duration)
        due = or_(jobs.c.next_attempt_at.is_(None), jobs.c.next_attempt_at <= self._now)
        effects = {"fence": jobs.c.fence + 1, "started_at": self._now}
        return self._answer(job_id, transitions.CLAIM, due, **effects, **self._lease(lease_ms))

    def current_claim(self, job_id: str) -> Claim:
        """The claim that a running job is under, for those who were given no fence."""
        which = and_(self._which(job_id), statements.still_in(OWNED))

        def find(connection: Connection) -> Claim:
            fence = connection.execute(select(jobs.c.fence).where(which)).scalar_one_or_none()
            if fence is None:
                status = JobStatus.from_int(self._find(connection, job_id).status)
                raise InvalidJobTransition(job_id, str(status), "lock a key for")
            return Claim(job_id, fence)

        return self._transactions.read(find)

    def start_job(self, job_id: str) -> None:
        """`claim_job` without a lease; an error when the job cannot be claimed."""
        if self.claim_job(job_id) is not JobUpdateStatus.APPLIED:
            self._refuse(job_id, "start")

    def renew_job_lease(self, job_id: str, lease_duration: float) -> JobUpdateStatus:
        """T4 of one job."""
        if lease_duration is None:
            raise InvalidJobField("lease_duration", "is required")
        lease_ms = _lease_ms(lease_duration)
        return self._answer(job_id, transitions.RENEW, **self._lease(lease_ms))

    def mark_job_needs_recovery(self, job_id: str) -> JobUpdateStatus:
        """T10 of one job."""
        return self._answer(job_id, transitions.ABANDON)

    def reattach_job(self, job_id: str, lease_duration: float | None = None) -> JobUpdateStatus:
        """T11 of one job, whoever leads."""
        lease_ms = _lease_ms(lease_duration)

        def reattach(connection: Connection) -> JobUpdateStatus:
            which = self._which(job_id)
            statement = statements.change(
                transitions.REATTACH,
                self._now,
                which,
                fence=jobs.c.fence + 1,
                **self._lease(lease_ms),
            )
            if connection.execute(statement).rowcount == 0:
                return self._wrong_state(connection, job_id)
            fence = connection.execute(select(jobs.c.fence).where(which)).scalar_one()
            lock_rows.carry_over(connection, job_id, fence)
            return JobUpdateStatus.APPLIED

        return self._transactions.write(reattach)

    def requeue_job(self, job_id: str) -> JobUpdateStatus:
        """T12 of one job, whoever leads."""
        return self._answer(job_id, transitions.REQUEUE)

    def reset_job(self, job_id: str) -> None:
        """Back to PENDING from any unfinished state."""
        if not self._applies(job_id, transitions.REQUEUE, leaves=UNFINISHED):
            self._refuse(job_id, "reset")

    def finish_job(self, job_id: str, result: str) -> None:
        """T5 of any unfinished job."""
        result = texts.storable_result(result, self._text_limit)
        if not self._ends(job_id, JobStatus.SUCCEEDED, result, UNFINISHED):
            self._refuse(job_id, "finish")

    def fail_job(self, job_id: str, error: str) -> None:
        """T6 of any unfinished job."""
        if not self._ends(job_id, JobStatus.FAILED, texts.repaired(error), UNFINISHED):
            self._refuse(job_id, "fail")

    def mark_job_timed_out(self, job_id: str) -> None:
        """T6 of any unfinished job, with the status TIMEOUT."""
        if not self._ends(job_id, JobStatus.TIMEOUT, None, UNFINISHED):
            self._refuse(job_id, "time out")

    def report_job_result(
        self,
        job_id: str,
        status: JobStatus,
        result: str | None = None,
        error_message: str | None = None,
        is_transient_error: bool = False,
    ) -> None:
        """T5 or T6, or the owner's own CANCELED; the same outcome twice changes nothing.

        Args:
            job_id: The job.
            status: A terminal status.
            result: JSON text; for SUCCEEDED only.
            error_message: Required for FAILED, possible for TIMEOUT.
            is_transient_error: Accepted and not stored; retries are decided elsewhere.
        """
        result = texts.storable_result(result, self._text_limit)
        payload = _payload(status, result, error_message)
        if self._ends(job_id, status, payload, OWNED):
            return
        job = self.get_job(job_id)
        if (job.status, job.result) != (status, payload):
            self._refuse(job_id, "report a result for")

    def retry_job(self, job_id: str) -> int:
        """T7 of one RUNNING job, due at once; answers the new retry count."""
        again = {"retry_count": jobs.c.retry_count + 1, "next_attempt_at": null()}
        if not self._applies(job_id, transitions.RETRY, leaves=_RUNNING, **again):
            self._refuse(job_id, "retry")
        return self.get_job(job_id).retry_count

    def retry_or_fail_job(self, job_id: str, error: str) -> int | None:
        """T7 after 3.18's backoff while its retries last (the new count), else T6 (None)."""
        retry_count = self.get_job(job_id).retry_count
        seen = jobs.c.retry_count == retry_count
        if retry_count >= MLFLOW_SERVER_JOB_TRANSIENT_ERROR_MAX_RETRIES.get():
            if not self._ends(job_id, JobStatus.FAILED, texts.repaired(error), _RUNNING, seen):
                self._refuse(job_id, "fail")
            return None
        backoff_ms = int(_transient_retry_backoff_seconds(retry_count + 1) * 1000)
        again = {
            "retry_count": retry_count + 1,
            "next_attempt_at": self._now + backoff_ms,
        }
        if not self._applies(job_id, transitions.RETRY, seen, leaves=_RUNNING, **again):
            self._refuse(job_id, "retry")
        return retry_count + 1

    def _which(self, job_id: str) -> ColumnElement[bool]:
        if not texts.is_storable(job_id):
            raise JobNotFound(job_id)
        return and_(jobs.c.id == job_id, *self._visible())

    def _lease(self, lease_ms: int | None) -> dict[str, Any]:
        return {"lease_expires_at": null() if lease_ms is None else self._now + lease_ms}

    def _ends(self, job_id, status, payload, leaves, *guards) -> bool:
        ending = {"result": payload, "finished_at": self._now}
        return self._applies(job_id, _ENDING[status], *guards, leaves=leaves, **ending)

    def _applies(self, job_id: str, transition: Transition, *guards, **effects) -> bool:
        return self._answer(job_id, transition, *guards, **effects) is JobUpdateStatus.APPLIED

    def _answer(self, job_id: str, transition: Transition, *guards, **effects) -> JobUpdateStatus:
        statement = statements.change(
            transition, self._now, self._which(job_id), *guards, **effects
        )

        def change(connection: Connection) -> JobUpdateStatus:
            if connection.execute(statement).rowcount == 0:
                return self._wrong_state(connection, job_id)
            if transition.enters not in OWNED:
                lock_rows.release_unowned(connection, job_id)
            return JobUpdateStatus.APPLIED

        return self._transactions.write(change)

    def _wrong_state(self, connection: Connection, job_id: str) -> JobUpdateStatus:
        self._find(connection, job_id)
        return JobUpdateStatus.WRONG_STATE

    def _refuse(self, job_id: str, verb: str) -> None:
        status = self.get_job(job_id).status
        if status in TERMINAL:
            raise JobTerminalStateUpdateException(job_id, str(status))
        raise InvalidJobTransition(job_id, str(status), verb)


def _transient_retry_backoff_seconds(retry_count: int) -> float:
    doubled = MLFLOW_SERVER_JOB_TRANSIENT_ERROR_RETRY_BASE_DELAY.get() << (retry_count - 1)
    return min(doubled, MLFLOW_SERVER_JOB_TRANSIENT_ERROR_RETRY_MAX_DELAY.get())


def _lease_ms(lease_duration: float | None) -> int | None:
    if lease_duration is None:
        return None
    if not 0 < lease_duration < math.inf:
        raise InvalidJobField("lease_duration", "has to be a positive number of seconds")
    return int(lease_duration * 1000)


def _payload(status: JobStatus, result: Any, error_message: str | None) -> str | None:
    if not JobStatus.is_finalized(status):
        raise InvalidJobField("status", "has to be a terminal one")
    if status is JobStatus.SUCCEEDED:
        if error_message is not None:
            raise InvalidJobField("error_message", "does not go with a success")
        return result
    if status is JobStatus.CANCELED:
        return None
    if result is not None:
        raise InvalidJobField("result", f"does not go with the status {status}")
    if status is JobStatus.FAILED and error_message is None:
        raise InvalidJobField("error_message", "is required for a failure")
    return None if error_message is None else texts.repaired(error_message)
