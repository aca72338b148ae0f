"""I6: what a leader that was paused past its term tries to write does not come into being."""

import contextlib

import pytest

from mlflow.store.jobs.errors import LeadershipLost
from tests.store.jobs.store_factories import (
    LEASE_SECONDS,
    claim_one,
    create,
    lead,
    row_of,
    to_recovery,
)

ENDED_BY = {
    "time": lambda store, term: None,
    "a successor": lambda store, term: lead(store, "successor"),
    "a successor that released": lambda store, term: store.release_scheduler_lease(
        lead(store, "successor")
    ),
    "itself, leading again": lambda store, term: lead(store, term.holder),
}


@pytest.mark.parametrize("ended", ENDED_BY.values(), ids=ENDED_BY)
def test_a_paused_leader_writes_nothing(store, clock, ended):
    candidate = to_recovery(store, claim_one(store))
    stale = claim_one(store).claim
    ended_job = claim_one(store).claim
    store.fail(ended_job, "it has ended")
    term = lead(store, "paused", ttl_seconds=20)
    clock.advance(seconds=LEASE_SECONDS + 1)
    ended(store, term)
    before = [row_of(store, each.job_id) for each in (candidate, stale, ended_job)]

    for write in (
        lambda: create(store, term=term),
        lambda: create(store, term=term, lock_key="key"),
        lambda: store.begin_periodic_run("task", 1000, term),
        lambda: store.sweep(term),
        lambda: store.reattach(candidate, "b", LEASE_SECONDS, term),
        lambda: store.requeue(candidate, term, 3),
        lambda: store.requeue(candidate, term, 3, "died"),
        lambda: store.requeue(candidate, term, 0, "died"),
        lambda: store.fail_recovery(candidate, "late", term),
        lambda: store.delete_expired(term, 0),
        lambda: store.renew_scheduler_lease(term, 20),
    ):
        with contextlib.suppress(LeadershipLost):
            write()

    assert [job.job_id for job in store.list_jobs()] == [row.id for row in before]
    assert [row_of(store, row.id) for row in before] == before
    assert store.last_periodic_run("task") is None


def test_discovery_learns_that_it_does_not_lead_any_more(store, clock):
    term = lead(store, "paused")
    clock.advance(seconds=21)

    for lock_key in (None, "key"):
        with pytest.raises(LeadershipLost, match="paused"):
            create(store, term=term, lock_key=lock_key)


def test_the_leader_creates(store):
    assert create(store, term=lead(store), lock_key="key") is not None
