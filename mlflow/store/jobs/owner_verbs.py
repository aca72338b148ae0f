"""What a runner does with the jobs that it claims (T2 to T7, T10)."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from sqlalchemy import select
from sqlalchemy.engine import Connection

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import (
    checkpoints,
    claims,
    due_rows,
    job_row,
    joint_successes,
    lock_rows,
    statements,
    texts,
)
from mlflow.store.jobs.errors import NotAllSucceeded
from mlflow.store.jobs.sql_store import SqlStore, chunks, ms
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.values import (
    CheckpointMove,
    Claim,
    ClaimBatch,
    DueWork,
    JobLock,
    JobUpdateStatus,
    LockKeyFor,
    Owner,
    Success,
    TokenHolder,
)


class OwnerVerbs(SqlStore):
    """See `AbstractJobStore`."""

    def claim_batch(
        self,
        replica_id: str,
        backends: Collection[str | None],
        capacity: Mapping[str, int],
        lease_seconds: float,
        lock_key_for: LockKeyFor,
        *,
        default_timeout_seconds: float = 3600.0,
        token_backends: Collection[str | None] = (),
        after: Sequence[Success] = (),
        created_since: Mapping[str, int] = MappingProxyType({}),
    ) -> ClaimBatch:
        self._refuse_unstorable(after)

        def claim_batch(connection: Connection) -> ClaimBatch:
            return claims.claim_batch(
                connection,
                replica_id,
                backends,
                capacity,
                ms(lease_seconds),
                lock_key_for,
                default_timeout_seconds,
                self._now,
                token_backends,
                after,
                created_since,
            )

        return self._transactions.write(claim_batch)

    def claim_suspect(
        self,
        replica_id: str,
        backends: Collection[str | None],
        job_names: Collection[str],
        lease_seconds: float,
        lock_key_for: LockKeyFor,
        *,
        default_timeout_seconds: float = 3600.0,
        token_backends: Collection[str | None] = (),
    ) -> ClaimBatch:
        return self._transactions.write(
            lambda connection: claims.claim_suspect(
                connection,
                replica_id,
                backends,
                job_names,
                ms(lease_seconds),
                lock_key_for,
                default_timeout_seconds,
                self._now,
                token_backends,
            )
        )

    def due_work(
        self,
        backends: Collection[str | None],
        job_names: Collection[str],
        suspect_names: Collection[str] = (),
    ) -> DueWork:
        return self._transactions.read(
            lambda connection: due_rows.due_work(
                connection, backends, job_names, suspect_names, self._now
            )
        )

    def renew(self, claims: Sequence[Claim], lease_seconds: float) -> set[Claim]:
        lost: set[Claim] = set()
        for chunk in chunks(claims):
            lost |= self._renew_chunk(chunk, ms(lease_seconds))
        return lost

    def _renew_chunk(self, chunk: list[Claim], lease_ms: int) -> set[Claim]:
        def renew(connection: Connection) -> set[Claim]:
            renewed = connection.execute(statements.renew(chunk, lease_ms, self._now))
            if renewed.rowcount == len(chunk):
                return set()
            return set(_not_running(connection, chunk))

        return self._transactions.write_statement(renew)

    def not_running(self, claims: Sequence[Claim]) -> dict[Claim, JobStatus | None]:
        found: dict[Claim, JobStatus | None] = {}
        for chunk in chunks(claims):
            found |= self._transactions.read(
                lambda connection, chunk=chunk: _not_running(connection, chunk)
            )
        return found

    def succeed(
        self, owner: Owner, result: str | None, checkpoint: CheckpointMove | None = None
    ) -> JobUpdateStatus:
        result = texts.storable_result(result, self._text_limit)

        def move_checkpoint(connection: Connection) -> None:
            if checkpoint is not None:
                checkpoints.move(connection, checkpoint)

        return self._end(
            owner,
            statements.succeed(owner, result, self._now),
            (JobStatus.SUCCEEDED, result),
            move_checkpoint,
        )

    def succeed_all(self, successes: Sequence[Success]) -> bool:
        if not successes:
            return True
        self._refuse_unstorable(successes)
        try:
            self._transactions.write(
                lambda connection: joint_successes.succeed_all(connection, successes, self._now)
            )
        except NotAllSucceeded:
            return False
        return True

    def _refuse_unstorable(self, successes: Sequence[Success]) -> None:
        for each in successes:
            texts.storable_result(each.result, self._text_limit)

    def fail(self, owner: Owner, error: str) -> JobUpdateStatus:
        error = texts.repaired(error)
        return self._end(owner, statements.fail(owner, error, self._now), (JobStatus.FAILED, error))

    def time_out(self, owner: Owner, error: str | None = None) -> JobUpdateStatus:
        error = None if error is None else texts.repaired(error)
        return self._end(
            owner, statements.time_out(owner, error, self._now), (JobStatus.TIMEOUT, error)
        )

    def retry(self, owner: Owner, error: str, delay_seconds: float) -> JobUpdateStatus:
        message = texts.shortened(error)
        # Remote work repeats a report whose answer it did not get; a runner does not.
        again = (JobStatus.PENDING, None) if isinstance(owner, TokenHolder) else None
        return self._end(
            owner, statements.retry(owner, message, ms(delay_seconds), self._now), again
        )

    def confirm_canceled(self, claim: Claim) -> JobUpdateStatus:
        return self._end(claim, statements.confirm_canceled(claim, self._now), None)

    def abandon(self, claims: Sequence[Claim], *, lost: bool = False) -> int:
        leave = statements.give_up if lost else statements.abandon
        return sum(
            self._transactions.write_statement(
                lambda connection, chunk=chunk: connection.execute(leave(chunk, self._now)).rowcount
            )
            for chunk in chunks(claims)
        )

    def acquire_lock(
        self, lock_key: str, claim: Claim, default_timeout_seconds: float = 3600.0
    ) -> JobLock | None:
        texts.storable("lock_key", lock_key, 255)
        return self._transactions.write(
            lambda connection: lock_rows.acquire_owned(
                connection, lock_key, claim, self._now, default_timeout_seconds
            )
        )

    def release_lock(self, lock: JobLock) -> bool:
        return self._changes_one(lock_rows.release_one(lock))


def _not_running(connection: Connection, claims: Sequence[Claim]) -> dict[Claim, JobStatus | None]:
    rows = connection.execute(
        select(jobs.c.id, jobs.c.fence, jobs.c.status).where(
            jobs.c.id.in_([claim.job_id for claim in claims])
        )
    )
    found = {row.id: (row.fence, job_row.status_of(row)) for row in rows}
    answer = {}
    for claim in claims:
        fence, status = found.get(claim.job_id, (None, None))
        if (fence, status) != (claim.fence, JobStatus.RUNNING):
            answer[claim] = status
    return answer
