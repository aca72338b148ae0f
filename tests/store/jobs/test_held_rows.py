"""I3: a row that somebody keeps locked does not keep the leader from the others."""

from contextlib import contextmanager

import pytest
import sqlalchemy

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import tables
from tests.store.jobs.store_factories import LEASE_SECONDS, claim_one, lead, status_of


@pytest.fixture
def server_store(store):
    if store.db_type == "sqlite":
        pytest.skip("SQLite has one writer, and no locks of rows")
    return store


@pytest.fixture
def term(store):
    return lead(store, ttl_seconds=3600)


@contextmanager
def held(store, job_id):
    """Somebody else's transaction has the row locked."""
    engine = sqlalchemy.create_engine(store.engine.url, poolclass=sqlalchemy.pool.NullPool)
    row = sqlalchemy.select(tables.jobs.c.id).where(tables.jobs.c.id == job_id).with_for_update()
    with engine.connect() as connection, connection.begin():
        connection.execute(row).one()
        yield


def test_a_sweep_passes_over_a_row_that_somebody_has_locked(server_store, clock, term):
    locked, free = (claim_one(server_store).claim.job_id for _ in range(2))
    clock.advance(seconds=LEASE_SECONDS + 1)

    with held(server_store, locked):
        assert server_store.sweep(term) == 1
        assert status_of(server_store, free) is JobStatus.NEEDS_RECOVERY
        assert status_of(server_store, locked) is JobStatus.RUNNING
        # The leader sees that there is something left to sweep.
        outlook = server_store.lead(term, 3600)
        assert outlook.stale_at_ms <= outlook.now_ms

    assert server_store.sweep(term) == 1


def test_rows_that_somebody_has_locked_are_told_from_the_others(server_store):
    locked, free = (claim_one(server_store).claim.job_id for _ in range(2))

    with held(server_store, locked):
        assert server_store.unlocked([locked, free, "gone"]) == {free}

    assert server_store.unlocked([locked, free]) == {locked, free}


def test_where_nobody_has_rows_locked_all_are_free(store):
    job_id = claim_one(store).claim.job_id

    assert store.unlocked([job_id]) == {job_id}
    assert store.unlocked([]) == set()
