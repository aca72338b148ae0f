"""Upgrades from databases of released versions, with their jobs in them, and back again."""

import contextlib
import dataclasses
import itertools

import pytest
import sqlalchemy

from mlflow.entities._job import Job
from mlflow.entities._job_status import JobStatus
from mlflow.store.db.utils import _upgrade_db, _verify_schema
from mlflow.store.jobs import schema
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.jobs.values import JobUpdateStatus
from tests.db.jobs_databases import (
    HEADS,
    RESULTS,
    TERMINAL,
    UNFINISHED,
    WITH_EXECUTORS,
    clear,
    insert_rows_of,
    shape,
    statuses,
    to_revision,
)
from tests.store.jobs.real_databases import KINDS, fresh_database
from tests.store.jobs.store_factories import claim, create, lead, locks_of

APPLIED = JobUpdateStatus.APPLIED


@dataclasses.dataclass(frozen=True)
class Upgrade:
    """A database of a release, with its jobs, after what `mlflow db upgrade` does."""

    kind: str
    release: str
    store: SqlAlchemyJobStore
    shape_before: dict
    jobs: dict[str, Job]


@pytest.fixture(scope="module")
def engine_of(tmp_path_factory):
    """One database of each kind, which goes through the releases from the oldest on."""
    engines = {}
    with contextlib.ExitStack() as databases:

        def engine(kind):
            if kind not in engines:
                directory = tmp_path_factory.mktemp("database")
                uri = databases.enter_context(fresh_database(kind, directory))
                engines[kind] = databases.enter_context(disposing(sqlalchemy.create_engine(uri)))
            return engines[kind]

        yield engine


@contextlib.contextmanager
def disposing(engine):
    yield engine
    engine.dispose()
    if store_engine := SqlAlchemyJobStore._engine_map.pop(uri_of(engine), None):
        store_engine.dispose()


def uri_of(engine):
    return engine.url.render_as_string(hide_password=False)


@pytest.fixture(
    scope="module",
    params=itertools.product(KINDS, HEADS),
    ids=lambda kind_and_release: "-".join(kind_and_release),
)
def upgraded(request, engine_of):
    kind, release = request.param
    engine = engine_of(kind)
    clear(engine)
    if sqlalchemy.inspect(engine).has_table("jobs"):
        take_back(engine)
    to_revision(engine, HEADS[release])
    insert_rows_of(engine, release)
    shape_before = shape(engine)
    _upgrade_db(engine)
    store = SqlAlchemyJobStore(uri_of(engine))
    jobs = {job.job_id: job for job in store.list_jobs()}
    return Upgrade(kind, release, store, shape_before, jobs)


def take_back(engine):
    schema.downgrade(engine)
    # A pooled SQLite connection may remember the columns that are gone by now.
    for pool in (engine, SqlAlchemyJobStore._engine_map[uri_of(engine)]):
        pool.dispose()


def test_the_schema_is_the_one_that_mlflow_and_the_jobs_need(upgraded):
    _verify_schema(upgraded.store.engine)
    schema.verify(upgraded.store.engine)


def test_jobs_that_had_ended_keep_their_state_and_result(upgraded):
    for status in TERMINAL:
        job = upgraded.jobs[status.name]
        assert (job.status, job.result) == (status, RESULTS.get(status))
        assert (job.status_details, job.progress, job.timeout) == (None, None, None)
    assert upgraded.jobs["FAILED"].error_message == RESULTS[JobStatus.FAILED]
    assert upgraded.jobs["SUCCEEDED"].parsed_result == {"scored": 3}


def test_jobs_that_had_not_ended_are_kept_or_canceled_and_none_is_lost(upgraded):
    found = {name: upgraded.jobs[name].status for name in ("PENDING", "RUNNING")}

    if upgraded.release in WITH_EXECUTORS:
        assert found == {status.name: status for status in UNFINISHED}
        assert upgraded.jobs["NEEDS_RECOVERY"].status is JobStatus.NEEDS_RECOVERY
    else:
        # Their engine kept them in a queue of its own, which is gone.
        assert found == dict.fromkeys(found, JobStatus.CANCELED)


def test_what_is_unfinished_is_recovered_and_runs_to_its_end_beside_new_jobs(upgraded):
    store = upgraded.store
    unfinished = {
        job.job_id for job in upgraded.jobs.values() if not JobStatus.is_finalized(job.status)
    }
    unfinished.add(create(store, job_id="new").job_id)

    term = lead(store, ttl_seconds=600)
    assert store.sweep(term) == ("RUNNING" in unfinished)
    for candidate in store.recovery_candidates():
        assert store.requeue(candidate, term, 3) is APPLIED
    assert locks_of(store) == {}
    claimed = [job.claim for job in claim(store).claimed]
    assert {each.job_id for each in claimed} == unfinished
    assert {store.succeed(each, "1") for each in claimed} == {APPLIED}


def test_a_downgrade_gives_back_the_schema_and_every_job(upgraded):
    if (upgraded.kind, upgraded.release) == ("mysql", "3.10.1"):
        pytest.skip("MLflow's own downgrade of its MCP tables fails on MySQL")
    engine = upgraded.store.engine
    jobs = statuses(engine)

    take_back(engine)
    to_revision(engine, HEADS[upgraded.release])

    assert shape(engine) == upgraded.shape_before
    assert statuses(engine) == jobs
    assert jobs.keys() >= upgraded.jobs.keys()
