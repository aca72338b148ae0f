"""What a live job says of itself, by its runner or by its job token (I8)."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.engine import Connection

from mlflow.entities._job import JobProgress
from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import dialects, job_row, job_tokens, statements, texts, transitions
from mlflow.store.jobs.errors import JobTerminalStateUpdateException
from mlflow.store.jobs.sql_store import APPLIED, CLAIM_LOST, WRONG_STATE, SqlStore
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.values import JobUpdateStatus, TokenHolder, TokenJob


class ReportVerbs(SqlStore):
    """See `AbstractJobStore`."""

    def update_status_details(
        self, job_id: str, status_details: dict[str, Any], fence: int | None = None
    ) -> JobUpdateStatus:
        texts.storable_tree("status_details", status_details)

        def merge(row) -> dict[str, Any]:
            return {
                "status_details": _merged(row.status_details, status_details),
                "last_update_time": self._now,
            }

        return self._report(job_id, fence, merge)

    def update_job_progress(
        self,
        job_id: str,
        message: str | None = None,
        progress: JobProgress | None = None,
        fence: int | None = None,
    ) -> JobUpdateStatus:
        effects = self._progress_effects(message, progress)
        return self._report(job_id, fence, lambda row: effects)

    def _progress_effects(
        self, message: str | None, progress: JobProgress | dict[str, Any] | None
    ) -> dict[str, Any]:
        # Without `last_update_time`, which is in an index: so PostgreSQL writes none of them (HOT).
        effects: dict[str, Any] = {"progress_updated_at": self._now}
        if message is not None:
            effects["status_message"] = texts.storable_message("message", message)
        if progress is not None:
            tree = progress if isinstance(progress, dict) else progress.to_dict()
            effects["progress"] = texts.storable_tree("progress", tree)
        return effects

    def _report(
        self, job_id: str, fence: int | None, effects_on: Callable[[Any], dict[str, Any]]
    ) -> JobUpdateStatus:
        """Write what a live job says of itself, merged with what it said before."""

        def report(connection: Connection) -> JobUpdateStatus:
            row = self._find(connection, job_id, lock=True)
            status = JobStatus.from_int(row.status)
            if fence is not None and row.fence != fence:
                return CLAIM_LOST
            if status in transitions.TERMINAL:
                raise JobTerminalStateUpdateException(job_id, str(status))
            live = transitions.UNFINISHED if fence is None else transitions.OWNED
            under = [] if fence is None else [jobs.c.fence == fence]
            written = connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id, statements.still_in(live), *under)
                .values(effects_on(row))
            )
            return APPLIED if written.rowcount == 1 else WRONG_STATE

        return self._transactions.write(report)

    def job_of_token(self, holder: TokenHolder) -> TokenJob | None:
        found = select(
            jobs.c.status,
            jobs.c.workspace,
            jobs.c.creator,
            jobs.c.retry_count,
            jobs.c.token_hash,
            jobs.c.issued_token_hash,
            jobs.c.scoped_permissions,
        ).where(jobs.c.id == holder.job_id)
        row = self._transactions.read(lambda connection: connection.execute(found).one_or_none())
        if row is None or not job_tokens.same_hash(row.issued_token_hash, holder.token_hash):
            return None
        status = job_row.status_of(row)
        live = status in transitions.OWNED and job_tokens.same_hash(
            row.token_hash, holder.token_hash
        )
        return TokenJob(
            holder,
            row.workspace,
            row.creator,
            status,
            row.retry_count,
            live,
            job_row.grant(row.scoped_permissions) if live else (),
        )

    def report_progress(
        self,
        holder: TokenHolder,
        message: str | None = None,
        progress: JobProgress | None = None,
        status_details: dict[str, Any] | None = None,
    ) -> JobUpdateStatus:
        effects = self._progress_effects(message, progress)
        if status_details is not None:
            texts.storable_tree("status_details", status_details)

        def report(connection: Connection) -> JobUpdateStatus:
            if status_details is not None:
                stored = connection.execute(
                    dialects.locking(
                        select(jobs.c.status_details).where(jobs.c.id == holder.job_id), jobs
                    )
                ).scalar_one_or_none()
                effects["status_details"] = _merged(stored, status_details)
                effects["last_update_time"] = self._now
            statement = statements.report_progress(holder, effects)
            return APPLIED if connection.execute(statement).rowcount == 1 else CLAIM_LOST

        return self._transactions.write(report)


def _merged(stored: Any, status_details: dict[str, Any]) -> dict[str, Any]:
    merged = {**(stored if isinstance(stored, dict) else {}), **status_details}
    return texts.storable_tree("status_details", merged)
