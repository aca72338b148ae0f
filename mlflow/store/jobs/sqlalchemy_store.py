"""The job store on a SQL database: open the transaction, run the statement, read the row count."""

import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import sqlalchemy
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.orm import sessionmaker

from mlflow.entities._job import Job, JobProgress, JobScopedPermission
from mlflow.entities._job_status import JobStatus
from mlflow.store.db.utils import (
    _all_tables_exist,
    _get_managed_session_maker,
    _safe_initialize_tables,
    create_sqlalchemy_engine_with_retry,
)
from mlflow.store.jobs import (
    backend_rows,
    checkpoints,
    claims,
    crashes,
    dialects,
    job_row,
    job_tokens,
    lease_rows,
    lock_rows,
    numbers,
    periodic_runs,
    prepared,
    retention,
    schema,
    search,
    standing_orders,
    statements,
    texts,
    transitions,
)
from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.discovery_verbs import DiscoveryVerbs
from mlflow.store.jobs.errors import (
    JobNotFound,
    JobTerminalStateUpdateException,
    LeadershipLost,
    UnknownJobStatus,
)
from mlflow.store.jobs.legacy_verbs import LegacyVerbs
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.transaction import Transactions
from mlflow.store.jobs.values import (
    CheckpointMove,
    Claim,
    ClaimBatch,
    JobLock,
    JobUpdateStatus,
    LockKeyFor,
    Outlook,
    Owner,
    RecoveryCandidate,
    Success,
    Term,
    TokenHolder,
    TokenJob,
)
from mlflow.utils.uri import extract_db_type_from_uri
from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME

APPLIED = JobUpdateStatus.APPLIED
WRONG_STATE = JobUpdateStatus.WRONG_STATE
CLAIM_LOST = JobUpdateStatus.CLAIM_LOST

T = TypeVar("T")

_LIST_CHUNK = 100
_CLAIMS_PER_STATEMENT = 200


class _NotAll(Exception):
    """Undoes a transaction in which some row was not met."""


class SqlAlchemyJobStore(DiscoveryVerbs, LegacyVerbs, AbstractJobStore):
    """Jobs of all workspaces of one database.

    Attributes:
        clock_offset_ms: Added to the database's time everywhere; tests move time with it.
    """

    _engine_map: ClassVar[dict[str, sqlalchemy.engine.Engine]] = {}
    _engine_map_lock = threading.Lock()

    def __init__(self, db_uri: str):
        """Open the store; an empty database is given its tables first.

        Raises:
            JobsSchemaOutOfDate: The database is one that `mlflow db upgrade` has to be run on.
        """
        super().__init__()
        self.db_uri = db_uri
        self.db_type = extract_db_type_from_uri(db_uri)
        self.engine = self._engine_of(db_uri)
        self.clock_offset_ms = 0
        if _all_tables_exist(self.engine):
            schema.verify(self.engine)
        else:
            _safe_initialize_tables(self.engine)
            schema.upgrade(self.engine)
        dialects.prepare(self.engine)
        # Last, since tables are made and changed without limits.
        dialects.limit_held_locks(self.engine)
        self.ManagedSessionMaker = _get_managed_session_maker(
            sessionmaker(bind=self.engine), self.db_type
        )
        self._transactions = Transactions(self.engine)
        self._text_limit_read: dialects.TextLimit | None = None

    @classmethod
    def _engine_of(cls, uri: str) -> sqlalchemy.engine.Engine:
        """The one engine that this process has for a database."""
        with cls._engine_map_lock:
            engine = cls._engine_map.get(uri)
            if engine is None:
                engine = cls._engine_map[uri] = create_sqlalchemy_engine_with_retry(uri)
        return engine

    def _visible(self) -> list[ColumnElement[bool]]:
        """What limits the rows that users of this store may see and change."""
        return []

    def _workspace_of_new_job(self, asked: str | None) -> str:
        return asked or DEFAULT_WORKSPACE_NAME

    @property
    def _now(self) -> ColumnElement:
        return dialects.now_ms(self.clock_offset_ms)

    @property
    def _text_limit(self) -> dialects.TextLimit:
        if self._text_limit_read is None:
            self._text_limit_read = self._transactions.read(dialects.text_limit)
        return self._text_limit_read

    def now_ms(self) -> int:
        return self._transactions.read(
            lambda connection: connection.execute(select(self._now)).scalar_one()
        )

    # Submission and reading

    def create_job(
        self,
        job_name: str,
        params: str,
        timeout: float | None = None,
        creator: str | None = None,
        executor_backend: str | None = None,
        *,
        lock_key: str | None = None,
        sealed_environment: str | None = None,
        scoped_permissions: Sequence[JobScopedPermission | dict[str, Any]] | None = None,
        term: Term | None = None,
        workspace: str | None = None,
        job_id: str | None = None,
    ) -> Job | None:
        job_id = job_id or str(uuid.uuid4())
        values = {
            "id": texts.storable("job_id", job_id, 36),
            "job_name": texts.storable("job_name", texts.required("job_name", job_name), 500),
            "params": texts.storable_json(
                "params", texts.required("params", params), self._text_limit
            ),
            "workspace": texts.storable("workspace", self._workspace_of_new_job(workspace), 63),
            "timeout": numbers.storable_timeout(timeout),
            "creator": texts.storable("creator", creator, 255),
            "executor_backend": texts.storable("executor_backend", executor_backend, 255),
            "lock_key": texts.storable("lock_key", lock_key, 255),
            "sealed_environment": sealed_environment,
            "had_extra_envs": sealed_environment is not None,
            "scoped_permissions": _as_dicts(scoped_permissions),
            "discovered_by": term.holder if term else None,
        }
        unless_unfinished = term is not None and lock_key is not None
        if term is None:
            inserting = prepared.create((*values,), self.clock_offset_ms), values
        else:
            inserting = (statements.create(values, self._now, term, unless_unfinished),)

        def insert(connection: Connection) -> Job | None:
            if connection.execute(*inserting).rowcount == 1:
                return job_row.to_entity(_read(connection, jobs.c.id == job_id))
            if unless_unfinished and lease_rows.is_held(connection, term, self._now):
                return None
            raise LeadershipLost(term.lease_key, term.holder, term.fence)

        return self._transactions.write_statement(insert)

    def get_job(self, job_id: str) -> Job:
        row = self._transactions.read(lambda connection: self._find(connection, job_id))
        return job_row.to_entity(row)

    def list_jobs(
        self,
        job_name: str | None = None,
        statuses: list[JobStatus] | None = None,
        begin_timestamp: int | None = None,
        end_timestamp: int | None = None,
        params: dict[str, Any] | None = None,
    ) -> Iterator[Job]:
        token = None
        while True:
            found, token = self.search_jobs(
                job_name=job_name,
                statuses=statuses or None,
                begin=begin_timestamp,
                end=end_timestamp,
                params=params,
                max_results=_LIST_CHUNK,
                page_token=token,
            )
            yield from found
            if token is None:
                return

    def search_jobs(
        self,
        *,
        job_name: str | None = None,
        statuses: Collection[JobStatus] | None = None,
        workspace: str | None = None,
        creator: str | None = None,
        begin: int | None = None,
        end: int | None = None,
        params: dict[str, Any] | None = None,
        max_results: int = 100,
        page_token: str | None = None,
    ) -> tuple[list[Job], str | None]:
        max_results = numbers.row_limit("max_results", max_results)
        after = search.from_token(page_token)
        if statuses is not None and not statuses:
            return [], None
        wanted = self._visible()
        if workspace is not None:
            wanted.append(jobs.c.workspace == texts.storable("workspace", workspace))
        if creator is not None:
            wanted.append(jobs.c.creator == texts.storable("creator", creator))
        if begin is not None:
            wanted.append(jobs.c.creation_time >= numbers.comparable("begin", begin))
        if end is not None:
            wanted.append(jobs.c.creation_time <= numbers.comparable("end", end))
        ranges = search.ranges(wanted, texts.storable("job_name", job_name), statuses)
        found, place = self._transactions.read(
            lambda connection: search.page(connection, ranges, params or None, max_results, after)
        )
        return found, search.to_token(place)

    def delete_jobs(self, older_than: int = 0, job_ids: list[str] | None = None) -> list[str]:
        older_than = numbers.comparable("older_than", older_than)
        if job_ids is not None:
            job_ids = [each for each in job_ids if texts.is_storable(each)]
        return self._transactions.write(
            lambda connection: retention.delete(
                connection, self._visible(), older_than, job_ids, self._now
            )
        )

    # The owner's verbs

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
    ) -> ClaimBatch:
        return self._transactions.write(
            lambda connection: claims.claim_batch(
                connection,
                replica_id,
                backends,
                capacity,
                _ms(lease_seconds),
                lock_key_for,
                default_timeout_seconds,
                self._now,
                token_backends,
            )
        )

    def is_anything_due(self, backends: Collection[str | None], job_names: Collection[str]) -> bool:
        if not backends or not job_names:
            return False
        due = claims.anything_due(job_names, backends, self._now, self.engine.dialect.name)
        return self._transactions.read(
            lambda connection: connection.execute(due).first() is not None
        )

    def renew(self, claims: Sequence[Claim], lease_seconds: float) -> set[Claim]:
        lost: set[Claim] = set()
        for chunk in _chunks(claims):
            lost |= self._renew_chunk(chunk, _ms(lease_seconds))
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
        for chunk in _chunks(claims):
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
        for each in successes:
            texts.storable_result(each.result, self._text_limit)
        count, values = len(successes), prepared.success_values(successes)

        def succeed_all(connection: Connection) -> bool:
            statement = prepared.succeed_all(count, self.clock_offset_ms)
            if connection.execute(statement, values).rowcount != count:
                raise _NotAll
            connection.execute(prepared.release_all(count), values)
            return True

        try:
            return self._transactions.write(succeed_all)
        except _NotAll:
            return False

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
            owner, statements.retry(owner, message, _ms(delay_seconds), self._now), again
        )

    def confirm_canceled(self, claim: Claim) -> JobUpdateStatus:
        return self._end(claim, statements.confirm_canceled(claim, self._now), None)

    def _end(
        self,
        owner: Owner,
        statement: sqlalchemy.Update,
        outcome: tuple[JobStatus, str | None] | None,
        also: Callable[[Connection], None] = lambda connection: None,
    ) -> JobUpdateStatus:
        """End a claim: the statement, the release of the lock, and what else goes with it."""

        def end(connection: Connection) -> JobUpdateStatus:
            if connection.execute(statement).rowcount == 0:
                return _refused(connection, owner, outcome)
            _release_locks(connection, owner)
            also(connection)
            return APPLIED

        return self._transactions.write(end)

    def abandon(self, claims: Sequence[Claim], *, lost: bool = False) -> int:
        leave = statements.give_up if lost else statements.abandon
        return sum(
            self._transactions.write_statement(
                lambda connection, chunk=chunk: connection.execute(leave(chunk, self._now)).rowcount
            )
            for chunk in _chunks(claims)
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

    # The verbs of remote work, beside `succeed`, `fail`, `time_out` and `retry`

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
            statement = statements.report_progress(holder, effects, self._now)
            return APPLIED if connection.execute(statement).rowcount == 1 else CLAIM_LOST

        return self._transactions.write(report)

    # The user's verbs

    def cancel_job(self, job_id: str) -> Job:
        which = sqlalchemy.and_(jobs.c.id == _askable(job_id), *self._visible())

        def cancel(connection: Connection) -> Job:
            if connection.execute(statements.cancel(which, self._now)).rowcount == 0:
                status = JobStatus.from_int(self._find(connection, job_id).status)
                raise JobTerminalStateUpdateException(job_id, str(status))
            lock_rows.release_unowned(connection, job_id)
            return job_row.to_entity(_read(connection, which))

        return self._transactions.write(cancel)

    # Progress

    def update_status_details(
        self, job_id: str, status_details: dict[str, Any], fence: int | None = None
    ) -> JobUpdateStatus:
        texts.storable_tree("status_details", status_details)

        def merge(row) -> dict[str, Any]:
            return {"status_details": _merged(row.status_details, status_details)}

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
                .where(jobs.c.id == job_id, statements.in_states(live), *under)
                .values(last_update_time=self._now, **effects_on(row))
            )
            return APPLIED if written.rowcount == 1 else WRONG_STATE

        return self._transactions.write(report)

    def statuses(self, job_ids: Collection[str]) -> dict[str, JobStatus | None]:
        found: dict[str, JobStatus | None] = {}
        for chunk in _chunks([*job_ids]):
            which = select(jobs.c.id, jobs.c.status).where(jobs.c.id.in_(chunk))
            rows = self._transactions.read(
                lambda connection, which=which: connection.execute(which).all()
            )
            found |= {row.id: job_row.status_of(row) for row in rows}
        return found

    # The leader's verbs

    def sweep(self, term: Term, limit: int = 1000) -> int:
        def sweep(connection: Connection) -> int:
            ids = connection.scalars(statements.swept(limit, self._now)).all()
            if not ids:
                return 0
            return connection.execute(statements.sweep(ids, term, self._now)).rowcount

        return self._transactions.write_statement(sweep)

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
            )
            .where(statements.in_states({transitions.NEEDS_RECOVERY}))
            .order_by(jobs.c.last_update_time, jobs.c.id)
            .limit(limit)
        )
        rows = self._transactions.read(lambda connection: connection.execute(found).all())
        return [RecoveryCandidate(*row[:-1], crashes.read(row.crashes)) for row in rows]

    def reattach(
        self, candidate: RecoveryCandidate, replica_id: str, lease_seconds: float, term: Term
    ) -> Claim | None:
        statement = statements.reattach(candidate, replica_id, _ms(lease_seconds), term, self._now)

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
            return _refused(connection, claim, None)

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
            statements.fail_recovery(candidate, error, term, self._now, _ms(after_seconds)),
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

    def delete_expired(
        self, term: Term, completed_ttl_seconds: float | None = None, limit: int = 1000
    ) -> int:
        ttl_ms = None if completed_ttl_seconds is None else _ms(completed_ttl_seconds)

        def delete(connection: Connection) -> int:
            if not lease_rows.is_held(connection, term, self._now):
                return 0
            return retention.delete_expired(connection, ttl_ms, limit, self._now)

        return self._transactions.write(delete)

    # Leadership and periodic tasks

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

    def _finds_any(self, statement: sqlalchemy.Select) -> bool:
        return self._transactions.read(
            lambda connection: connection.execute(statement).first() is not None
        )

    def _changes_one(self, statement: sqlalchemy.Update | sqlalchemy.Delete) -> bool:
        return self._transactions.write_statement(
            lambda connection: connection.execute(statement).rowcount == 1
        )

    def _find(self, connection: Connection, job_id: str, lock: bool = False):
        row = _read(connection, jobs.c.id == _askable(job_id), *self._visible(), lock=lock)
        if row is None:
            raise JobNotFound(job_id)
        if job_row.status_of(row) is None:
            raise UnknownJobStatus(job_id, row.status)
        return row


def _read(connection: Connection, *which: ColumnElement[bool], lock: bool = False):
    statement = select(*job_row.COLUMNS).where(*which)
    if lock:
        statement = dialects.locking(statement, jobs)
    return connection.execute(statement).one_or_none()


def _release_locks(connection: Connection, owner: Owner) -> None:
    if isinstance(owner, TokenHolder):
        lock_rows.release_unowned(connection, owner.job_id)
    else:
        lock_rows.release(connection, owner)


def _merged(stored: Any, status_details: dict[str, Any]) -> dict[str, Any]:
    merged = {**(stored if isinstance(stored, dict) else {}), **status_details}
    return texts.storable_tree("status_details", merged)


def _refused(
    connection: Connection, owner: Owner, outcome: tuple[JobStatus, str | None] | None
) -> JobUpdateStatus:
    """Why a write of this owner matched no row."""
    row = connection.execute(
        select(jobs.c.status, jobs.c.fence, jobs.c.issued_token_hash, jobs.c.result).where(
            jobs.c.id == owner.job_id
        )
    ).one_or_none()
    if row is None or not _was_owner(row, owner):
        return CLAIM_LOST
    if outcome == (job_row.status_of(row), row.result):
        return APPLIED
    return WRONG_STATE


def _was_owner(row, owner: Owner) -> bool:
    if isinstance(owner, TokenHolder):
        return job_tokens.same_hash(row.issued_token_hash, owner.token_hash)
    return row.fence == owner.fence


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


def _askable(job_id: str) -> str:
    # Drivers raise for what no id can be, instead of finding nothing.
    if not texts.is_storable(job_id):
        raise JobNotFound(job_id)
    return job_id


def _as_outlook(row) -> Outlook:
    known = [each for each in (row.lease_ends_at, row.overruns_at) if each is not None]
    return Outlook(row.now_ms, min(known, default=None), bool(row.recovery_waits))


def _as_dicts(permissions) -> list[dict[str, Any]] | None:
    if permissions is None:
        return None
    dicts = [each if isinstance(each, dict) else each.to_dict() for each in permissions]
    return texts.storable_tree("scoped_permissions", dicts)


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _chunks(claims: Sequence[T]) -> Iterator[list[T]]:
    claims = list(claims)
    for start in range(0, len(claims), _CLAIMS_PER_STATEMENT):
        yield claims[start : start + _CLAIMS_PER_STATEMENT]
