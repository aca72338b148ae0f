"""What the verbs of the SQL store share: its engine, its time, and how a claim ends."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, TypeVar

import sqlalchemy
from sqlalchemy import ColumnElement, select
from sqlalchemy.engine import Connection
from sqlalchemy.orm import sessionmaker

from mlflow.entities._job_status import JobStatus
from mlflow.store.db.utils import (
    _all_tables_exist,
    _get_managed_session_maker,
    _safe_initialize_tables,
    create_sqlalchemy_engine_with_retry,
)
from mlflow.store.jobs import dialects, job_row, job_tokens, lock_rows, schema, texts
from mlflow.store.jobs.errors import JobNotFound, UnknownJobStatus
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.transaction import Transactions
from mlflow.store.jobs.values import JobUpdateStatus, Owner, TokenHolder
from mlflow.utils.uri import extract_db_type_from_uri
from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME

APPLIED = JobUpdateStatus.APPLIED
WRONG_STATE = JobUpdateStatus.WRONG_STATE
CLAIM_LOST = JobUpdateStatus.CLAIM_LOST

T = TypeVar("T")

_CLAIMS_PER_STATEMENT = 200


class SqlStore:
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
        if not schema.is_current(self.engine):
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
        return dialects.now(self.clock_offset_ms)

    @property
    def _text_limit(self) -> dialects.TextLimit:
        if self._text_limit_read is None:
            self._text_limit_read = self._transactions.read(dialects.text_limit)
        return self._text_limit_read

    def now_ms(self) -> int:
        return self._transactions.read(
            lambda connection: connection.execute(select(self._now)).scalar_one()
        )

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
                return refused(connection, owner, outcome)
            _release_locks(connection, owner)
            also(connection)
            return APPLIED

        return self._transactions.write(end)

    def _finds_any(self, statement: sqlalchemy.Select) -> bool:
        return self._transactions.read(
            lambda connection: connection.execute(statement).first() is not None
        )

    def _changes_one(self, statement: sqlalchemy.Update | sqlalchemy.Delete) -> bool:
        return self._transactions.write_statement(
            lambda connection: connection.execute(statement).rowcount == 1
        )

    def _find(self, connection: Connection, job_id: str, lock: bool = False):
        row = read_job(connection, jobs.c.id == askable(job_id), *self._visible(), lock=lock)
        if row is None:
            raise JobNotFound(job_id)
        if job_row.status_of(row) is None:
            raise UnknownJobStatus(job_id, row.status)
        return row


def read_job(connection: Connection, *which: ColumnElement[bool], lock: bool = False):
    statement = select(*job_row.COLUMNS).where(*which)
    if lock:
        statement = dialects.locking(statement, jobs)
    return connection.execute(statement).one_or_none()


def _release_locks(connection: Connection, owner: Owner) -> None:
    if isinstance(owner, TokenHolder):
        lock_rows.release_unowned(connection, owner.job_id)
    else:
        lock_rows.release(connection, owner)


def refused(
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


def askable(job_id: str) -> str:
    # Drivers raise for what no id can be, instead of finding nothing.
    if not texts.is_storable(job_id):
        raise JobNotFound(job_id)
    return job_id


def ms(seconds: float) -> int:
    return int(seconds * 1000)


def chunks(claims: Sequence[T]) -> Iterator[list[T]]:
    claims = list(claims)
    for start in range(0, len(claims), _CLAIMS_PER_STATEMENT):
        yield claims[start : start + _CLAIMS_PER_STATEMENT]
