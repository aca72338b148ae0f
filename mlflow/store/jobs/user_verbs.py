"""What users do: submit, read, cancel and delete (T1, T8)."""

import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy.engine import Connection

from mlflow.entities._job import Job, JobScopedPermission
from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import (
    dialects,
    driver_text,
    job_row,
    lease_rows,
    lock_rows,
    numbers,
    prepared,
    prepared_discovery,
    retention,
    search,
    statements,
    texts,
)
from mlflow.store.jobs.errors import JobTerminalStateUpdateException, LeadershipLost
from mlflow.store.jobs.sql_store import SqlStore, askable, read_job
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.values import NewJob, Term

_LIST_CHUNK = 100


class UserVerbs(SqlStore):
    """See `AbstractJobStore`."""

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
        on_committed: Callable[[], None] | None = None,
    ) -> Job | None:
        values = self._values_of(
            NewJob(
                job_name,
                params,
                timeout,
                creator,
                executor_backend,
                lock_key,
                sealed_environment,
                scoped_permissions,
                workspace,
                job_id,
            )
        )
        if term is None:
            return self._transactions.write_statement(
                lambda connection: self._insert(connection, values, on_committed)
            )
        return self._transactions.write_statement(
            lambda connection: self._insert_under(connection, term, values, on_committed)
        )

    def create_jobs(self, new: Sequence[NewJob]) -> list[str]:
        rows = [self._values_of(each) for each in new]
        if rows:
            statement = prepared.create((*rows[0],), self.clock_offset_ms)
            self._transactions.write(lambda connection: connection.execute(statement, rows))
        return [row["id"] for row in rows]

    def _insert(
        self,
        connection: Connection,
        values: dict[str, Any],
        on_committed: Callable[[], None] | None,
    ) -> Job:
        shape = (*values,), self.clock_offset_ms
        if dialects.inserts_return_rows(connection):
            inserting = prepared.create_and_tell_time(*shape)
            inserted = driver_text.execute(connection, inserting, values)
            dialects.call_when_committed(connection, on_committed)
            return job_row.of_new(values, inserted.scalar_one())
        connection.execute(prepared.create(*shape), values)
        dialects.call_when_committed(connection, on_committed)
        return job_row.to_entity(read_job(connection, jobs.c.id == values["id"]))

    def _insert_under(
        self,
        connection: Connection,
        term: Term,
        values: dict[str, Any],
        on_committed: Callable[[], None] | None,
    ) -> Job | None:
        values = values | {"discovered_by": term.holder}
        unless_unfinished = values["lock_key"] is not None
        shape = (*values,), unless_unfinished, self.clock_offset_ms
        values = values | prepared_discovery.term_values(term)
        if dialects.inserts_return_rows(connection):
            row = connection.execute(prepared_discovery.create_and_read(*shape), values).first()
        else:
            done = connection.execute(prepared_discovery.create(*shape), values).rowcount == 1
            row = read_job(connection, jobs.c.id == values["id"]) if done else None
        if row is not None:
            dialects.call_when_committed(connection, on_committed)
            return job_row.to_entity(row)
        if unless_unfinished and lease_rows.is_held(connection, term, self._now):
            return None
        raise LeadershipLost(term.lease_key, term.holder, term.fence)

    def _values_of(self, new: NewJob) -> dict[str, Any]:
        params = texts.required("params", new.params)
        workspace = self._workspace_of_new_job(new.workspace)
        return {
            "id": texts.storable("job_id", new.job_id or str(uuid.uuid4()), 36),
            "job_name": texts.storable("job_name", texts.required("job_name", new.job_name), 500),
            "params": texts.storable_json("params", params, self._text_limit),
            "workspace": texts.storable("workspace", workspace, 63),
            "timeout": numbers.storable_timeout(new.timeout),
            "creator": texts.storable("creator", new.creator, 255),
            "executor_backend": texts.storable("executor_backend", new.executor_backend, 255),
            "lock_key": texts.storable("lock_key", new.lock_key, 255),
            "sealed_environment": new.sealed_environment,
            "had_extra_envs": new.sealed_environment is not None,
            "scoped_permissions": _as_dicts(new.scoped_permissions),
        }

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
        whose = self._visible()
        if workspace is not None:
            whose.append(jobs.c.workspace == texts.storable("workspace", workspace))
        if creator is not None:
            whose.append(jobs.c.creator == texts.storable("creator", creator))
        created = []
        if begin is not None:
            created.append(jobs.c.creation_time >= numbers.comparable("begin", begin))
        if end is not None:
            created.append(jobs.c.creation_time <= numbers.comparable("end", end))
        job_name = texts.storable("job_name", job_name)
        ranges = search.ranges(self.engine.dialect.name, whose, created, job_name, statuses)
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

    def cancel_job(self, job_id: str) -> Job:
        which = sqlalchemy.and_(jobs.c.id == askable(job_id), *self._visible())

        def cancel(connection: Connection) -> Job:
            if connection.execute(statements.cancel(which, self._now)).rowcount == 0:
                status = JobStatus.from_int(self._find(connection, job_id).status)
                raise JobTerminalStateUpdateException(job_id, str(status))
            lock_rows.release_unowned(connection, job_id)
            return job_row.to_entity(read_job(connection, which))

        return self._transactions.write(cancel)


def _as_dicts(permissions) -> list[dict[str, Any]] | None:
    if permissions is None:
        return None
    dicts = [each if isinstance(each, dict) else each.to_dict() for each in permissions]
    return texts.storable_tree("scoped_permissions", dicts)
