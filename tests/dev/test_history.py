"""The database itself writes down what becomes of jobs and who leads, and leaves renewals out."""

import pytest

from dev.chaos import history
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from tests.store.jobs.real_databases import KINDS, fresh_database

PENDING, RUNNING, NEEDS_RECOVERY = 0, 1, 6
HOLDER, NEXT_HOLDER = "host:70:ab", "host:71:cd"


@pytest.fixture(scope="module", params=KINDS)
def store(request, tmp_path_factory):
    """A database of each kind that writes its history; the tests touch different tables."""
    with fresh_database(request.param, tmp_path_factory.mktemp("history")) as uri:
        store = SqlAlchemyJobStore(uri)
        history.install(store.engine)
        yield store
        store.engine.dispose()


def test_claims_and_recoveries_are_written_down_with_their_runner_and_renewals_are_not(store):
    job_id = store.create_job("sample", "{}").job_id
    [job] = store.claim_batch(HOLDER, [None], {"sample": 1}, 60.0, lambda *_: None).claimed
    store.renew([job.claim], 60.0)
    store.abandon([job.claim])

    changes, _ = history.read(store.engine)

    assert [(each.old_status, each.status) for each in changes] == [
        (PENDING, RUNNING),
        (RUNNING, NEEDS_RECOVERY),
    ]
    assert {each.job for each in changes} == {job_id}
    assert [(each.old_fence, each.fence) for each in changes] == [(0, 1), (1, 1)]
    assert [each.runner for each in changes] == [70, 70]
    assert changes[0].at_ms <= changes[1].at_ms


def test_each_term_of_a_leader_is_written_down_once(store):
    term = store.acquire_scheduler_lease("key", HOLDER, 60.0)
    store.renew_scheduler_lease(term, 60.0)
    store.release_scheduler_lease(term)
    store.acquire_scheduler_lease("key", NEXT_HOLDER, 60.0)

    _, leaders = history.read(store.engine)

    assert [(each.holder, each.runner) for each in leaders] == [(HOLDER, 70), (NEXT_HOLDER, 71)]
    assert 0 < leaders[0].at_ms <= leaders[1].at_ms
