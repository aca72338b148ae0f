"""I10: a claim reads little also after a burst of jobs that no statistics tell of."""

from collections.abc import Iterator

import pytest
from sqlalchemy import String, cast, literal, select

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import tables
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.jobs.values import Claim, Success, Term
from tests.store.jobs.store_factories import claim, empty, lead
from tests.store.jobs.test_plans import (
    EPOCH,
    MOST_READ,
    explain,
    gather_statistics,
    numbers,
    record,
)

ENDED = 20_000
BURST = 20_000
# Known to the statistics, but for the last.
TYPES = ("usual", "rare", "new")
CLAIM = Claim("usual-0-7", 0)
VERBS = {
    "T1 by discovery": lambda store, term: store.create_job(
        "usual", "{}", lock_key="key", workspace="default", term=term
    ),
    "T4": lambda store, term: store.renew([CLAIM], 30),
    "T5": lambda store, term: store.succeed_all([Success(CLAIM, "1")]),
    "T7": lambda store, term: store.retry(CLAIM, "again", 1),
    "T8": lambda store, term: store.cancel_job(CLAIM.job_id),
    "lead": lambda store, term: store.lead(term, 20),
    "T9": lambda store, term: store.sweep(term, limit=20),
    "recovery candidates": lambda store, term: store.recovery_candidates(),
    "a page": lambda store, term: store.search_jobs(max_results=20),
    "backends that jobs wait for": lambda store, term: store.waiting_backends(),
    "how many wait for a backend": lambda store, term: store.count_waiting("ray", limit=100),
    "retention": lambda store, term: store.delete_expired(term, 1.0, limit=20),
    "whether there is work for retention": lambda store, term: store.has_expired(EPOCH),
}


@pytest.fixture(scope="module")
def burst(_opened_store) -> Iterator[SqlAlchemyJobStore]:
    """A table whose statistics are of a time when all jobs had ended."""
    store = _opened_store
    empty(store)
    add_jobs(store, "usual", ENDED, JobStatus.SUCCEEDED)
    add_jobs(store, "rare", 1, JobStatus.SUCCEEDED)
    if store.db_type != "sqlite":
        # Which has none unless somebody asks for them; MLflow does not.
        gather_statistics(store)
    for name in TYPES:
        add_jobs(store, name, BURST)
    yield store
    empty(store)


@pytest.fixture(scope="module")
def term(burst) -> Term:
    return lead(burst, ttl_seconds=3600.0)


@pytest.mark.parametrize("name", TYPES)
def test_a_claim_after_a_burst_reads_as_many_rows_as_it_has_slots(burst, name):
    capacity = {"unknown": 1, name: 3}
    (first, *_) = record(burst, lambda: claim(burst, capacity=capacity))
    plan = explain(burst, first)
    assert plan.read <= MOST_READ[burst.db_type], plan
    assert "index_jobs_claim" in plan.text, plan


@pytest.mark.parametrize("name", TYPES)
def test_a_look_after_a_burst_reads_as_little(burst, name):
    (only,) = record(burst, lambda: burst.due_work([None], ["unknown", name], [name]))
    plan = explain(burst, only)
    assert plan.read <= MOST_READ[burst.db_type], plan


@pytest.mark.parametrize("name", VERBS)
def test_other_verbs_read_as_little(burst, term, name):
    for statement in record(burst, lambda: VERBS[name](burst, term)):
        plan = explain(burst, statement)
        assert plan.read <= MOST_READ[burst.db_type], plan


def test_retention_reads_as_little_where_what_has_ended_lies_behind_what_waits(store):
    """Rows that end go where there is room. Statistics say how many have ended, and not where."""
    add_jobs(store, "usual", BURST)
    add_jobs(store, "usual", ENDED, JobStatus.SUCCEEDED)
    gather_statistics(store)
    term = lead(store, ttl_seconds=3600.0)
    for statement in record(store, lambda: store.delete_expired(term, 1.0, limit=20)):
        plan = explain(store, statement)
        assert plan.read <= MOST_READ[store.db_type], plan


def test_the_look_for_what_discovery_left_passes_over_what_users_canceled(store):
    add_jobs(store, "usual", ENDED, JobStatus.CANCELED)
    (only,) = record(store, lambda: store.has_expired())
    plan = explain(store, only)
    assert plan.read <= MOST_READ[store.db_type], plan


def add_jobs(
    store: SqlAlchemyJobStore, name: str, count: int, status: JobStatus = JobStatus.PENDING
) -> None:
    """Store many jobs of one type at once."""
    number = numbers(count)
    rows = select(
        literal(f"{name}-{status.to_int()}-").concat(cast(number, String(20))).label("id"),
        number.label("creation_time"),
        literal(name).label("job_name"),
        literal("{}").label("params"),
        literal("default").label("workspace"),
        literal(status.to_int()).label("status"),
        literal(0).label("retry_count"),
        number.label("last_update_time"),
    ).where(number < count)
    with store.engine.begin() as connection:
        connection.execute(tables.jobs.insert().from_select(rows.selected_columns.keys(), rows))
