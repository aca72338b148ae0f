"""What users do: submit, read, cancel and delete (T1, T8)."""

import uuid
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy.engine import Connection

from mlflow.entities._job import Job, JobScopedPermission
from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import (
    job_row,
    lease_rows,
    lock_rows,
    numbers,
    prepared,
    retention,
    search,
    statements,
    texts,
)
from mlflow.store.jobs.errors import JobTerminalStateUpdateException, LeadershipLost
from mlflow.store.jobs.sql_store import SqlStore, askable, read_job
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.values import Term

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
                return job_row.to_entity(read_job(connection, jobs.c.id == job_id))
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
