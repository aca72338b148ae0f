"""How runners come to lead, and the periodic tasks of the leader."""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.engine import Connection

from mlflow.store.jobs import (
    dialects,
    lease_rows,
    periodic_runs,
    standing_orders,
    statements,
)
from mlflow.store.jobs.sql_store import SqlStore
from mlflow.store.jobs.values import Outlook, Term


class LeadershipVerbs(SqlStore):
    """See `AbstractJobStore`."""

    def acquire_scheduler_lease(self, key: str, holder: str, ttl_seconds: float) -> Term | None:
        latest = self._transactions.read(
            lambda connection: lease_rows.latest(connection, key, self._now)
        )
        fence, lasts_ms = latest or (0, 0)
        if lasts_ms > 0:
            return None
        term = Term(key, holder, fence + 1)
        return self._transactions.write_statement(
            lambda connection: lease_rows.acquire(connection, term, ttl_seconds, self._now)
        )

    def renew_scheduler_lease(self, term: Term, ttl_seconds: float) -> bool:
        return self._changes_one(lease_rows.renew(term, ttl_seconds, self._now))

    def lead(self, term: Term, ttl_seconds: float) -> Outlook | None:
        renewal = lease_rows.renew(term, ttl_seconds, self._now)
        look = statements.outlook(self._now)

        def lead(connection: Connection):
            if dialects.updates_return_subqueries(connection):
                return connection.execute(renewal.returning(*look)).one_or_none()
            if connection.execute(renewal).rowcount == 0:
                return None
            return connection.execute(select(*look)).one()

        row = self._transactions.write_statement(lead)
        return None if row is None else _as_outlook(row)

    def scheduler_lease_lasts(self, key: str) -> float:
        latest = self._transactions.read(
            lambda connection: lease_rows.latest(connection, key, self._now)
        )
        return 0.0 if latest is None else latest[1] / 1000

    def release_scheduler_lease(self, term: Term) -> bool:
        return self._changes_one(lease_rows.release(term))

    def begin_periodic_run(self, name: str, due_at_ms: int, term: Term) -> bool:
        return self._transactions.write_statement(
            lambda connection: periodic_runs.begin(connection, name, due_at_ms, term, self._now)
        )

    def last_periodic_run(self, name: str) -> int | None:
        return self._transactions.read(lambda connection: periodic_runs.last(connection, name))

    def has_online_scoring(self, checkpoint_tags: Collection[str]) -> bool:
        return self._finds_any(standing_orders.online_scoring(checkpoint_tags))

    def has_tagged_experiment(self, key: str) -> bool:
        return self._finds_any(standing_orders.tagged_experiment(key))


def _as_outlook(row) -> Outlook:
    known = [each for each in (row.lease_ends_at, row.overruns_at) if each is not None]
    return Outlook(row.now_ms, min(known, default=None), bool(row.recovery_waits))
