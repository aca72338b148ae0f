"""What the leader does with the jobs of others (T9, T11 to T13)."""

from collections.abc import Collection

import sqlalchemy
from sqlalchemy import select
from sqlalchemy.engine import Connection

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import (
    backend_rows,
    crashes,
    job_row,
    lease_rows,
    lock_rows,
    retention,
    statements,
    suspicion,
    texts,
    transitions,
)
from mlflow.store.jobs.sql_store import APPLIED, SqlStore, chunks, ms, refused
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.values import Claim, JobUpdateStatus, RecoveryCandidate, Term


class LeaderVerbs(SqlStore):
    """See `AbstractJobStore`."""

    def statuses(self, job_ids: Collection[str]) -> dict[str, JobStatus | None]:
        found: dict[str, JobStatus | None] = {}
        for chunk in chunks([*job_ids]):
            which = select(jobs.c.id, jobs.c.status).where(jobs.c.id.in_(chunk))
            rows = self._transactions.read(
                lambda connection, which=which: connection.execute(which).all()
            )
            found |= {row.id: job_row.status_of(row) for row in rows}
        return found

    def sweep(self, term: Term, limit: int = 1000) -> int:
        def sweep(connection: Connection) -> int:
            stale = connection.scalars(statements.swept(limit, self._now)).all()
            # I3: what a process holds that was stopped must not keep the others from recovery.
            free = stale and connection.scalars(statements.unlocked(stale)).all()
            if not free:
                return 0
            return connection.execute(statements.sweep(free, term, self._now)).rowcount

        return self._transactions.write_statement(sweep)

    def unlocked(self, job_ids: Collection[str]) -> set[str]:
        found: set[str] = set()
        for chunk in chunks([*job_ids]):
            free = statements.unlocked(chunk)
            found |= self._transactions.write_statement(
                lambda connection, free=free: {*connection.scalars(free)}
            )
        return found

    def recovery_candidates(self, limit: int = 100) -> list[RecoveryCandidate]:
        found = (
            select(
                jobs.c.id,
                jobs.c.fence,
                jobs.c.executor_backend,
                jobs.c.job_name,
                jobs.c.recovery_count,
                jobs.c.claimed_by,
                jobs.c.crashed_at,
                jobs.c.crashes,
                jobs.c.next_attempt_at,
            )
            .where(statements.in_states({transitions.NEEDS_RECOVERY}))
            .order_by(jobs.c.last_update_time, jobs.c.id)
            .limit(limit)
        )
        rows = self._transactions.read(lambda connection: connection.execute(found).all())
        return [
            RecoveryCandidate(
                *row[:-2], crashes.read(row.crashes), suspicion.is_marked(row.next_attempt_at)
            )
            for row in rows
        ]

    def reattach(
        self, candidate: RecoveryCandidate, replica_id: str, lease_seconds: float, term: Term
    ) -> Claim | None:
        statement = statements.reattach(candidate, replica_id, ms(lease_seconds), term, self._now)

        def reattach(connection: Connection) -> Claim | None:
            if connection.execute(statement).rowcount == 0:
                return None
            claim = Claim(candidate.job_id, candidate.fence + 1)
            lock_rows.carry_over(connection, claim.job_id, claim.fence)
            return claim

        return self._transactions.write(reattach)

    def requeue(
        self,
        candidate: RecoveryCandidate,
        term: Term,
        max_recoveries: int,
        crash: str | None = None,
    ) -> JobUpdateStatus:
        claim = Claim(candidate.job_id, candidate.fence)
        handed_over = candidate.crashed_at is None and crash is None

        def requeue(connection: Connection) -> JobUpdateStatus:
            if handed_over:
                ways = [statements.requeue(candidate, term, self._now)]
            else:
                ways = self._after_crash(connection, candidate, term, max_recoveries, crash)
            for statement in ways:
                if connection.execute(statement).rowcount == 1:
                    lock_rows.release(connection, claim)
                    return APPLIED
            return refused(connection, claim, None)

        return self._transactions.write(requeue)

    def _after_crash(
        self,
        connection: Connection,
        candidate: RecoveryCandidate,
        term: Term,
        most: int,
        reason: str | None,
    ) -> list[sqlalchemy.Update]:
        seen_at = candidate.crashed_at
        if seen_at is None:
            seen_at = connection.execute(select(self._now)).scalar_one()
        history = crashes.one_more(candidate, seen_at, reason)
        error = crashes.told(candidate.recovery_count + 1, history)
        stored = crashes.written(history)
        return [
            statements.requeue_crashed(candidate, stored, term, most, self._now),
            statements.set_aside(candidate, stored, error, term, most, self._now),
        ]

    def fail_recovery(
        self, candidate: RecoveryCandidate, error: str, term: Term, after_seconds: float = 0.0
    ) -> JobUpdateStatus:
        error = texts.repaired(error)
        return self._end(
            Claim(candidate.job_id, candidate.fence),
            statements.fail_recovery(candidate, error, term, self._now, ms(after_seconds)),
            (JobStatus.FAILED, error),
        )

    def is_served(self, backend: str) -> bool:
        return self._transactions.read(
            lambda connection: backend_rows.is_served(connection, backend, self._now)
        )

    def waiting_backends(self) -> list[str]:
        return self._transactions.read(backend_rows.waiting)

    def count_waiting(self, backend: str, limit: int = 1000) -> tuple[int, bool]:
        count = self._transactions.read(
            lambda connection: backend_rows.count_waiting(connection, backend, limit)
        )
        return count, count < limit

    def has_expired(self, completed_ttl_seconds: float | None = None) -> bool:
        ttl_ms = None if completed_ttl_seconds is None else ms(completed_ttl_seconds)
        return self._finds_any(retention.any_expired(ttl_ms, self._now))

    def delete_expired(
        self, term: Term, completed_ttl_seconds: float | None = None, limit: int = 1000
    ) -> int:
        ttl_ms = None if completed_ttl_seconds is None else ms(completed_ttl_seconds)

        def delete(connection: Connection) -> int:
            if not lease_rows.is_held(connection, term, self._now):
                return 0
            return retention.delete_expired(connection, ttl_ms, limit, self._now)

        return self._transactions.write(delete)
