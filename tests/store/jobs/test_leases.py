"""The scheduler lease, what it guards, and the record of periodic runs."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlflow.store.jobs import tables
from mlflow.store.jobs.errors import LeadershipLost
from tests.store.jobs.store_factories import (
    change_raw,
    claim_one,
    create,
    insert_raw,
    lead,
    row_of,
    to_recovery,
)


def acquire(store, holder="b", ttl_seconds=20.0):
    return store.acquire_scheduler_lease("scheduler", holder, ttl_seconds)


def test_a_free_lease_is_acquired_and_a_held_one_is_not(store):
    term = acquire(store, "a")

    assert (term.lease_key, term.holder, term.fence) == ("scheduler", "a", 1)
    assert acquire(store, "b") is None
    assert acquire(store, "a") is None


def test_leases_of_different_keys_are_independent(store):
    acquire(store, "a")

    assert store.acquire_scheduler_lease("another", "b", 20.0) is not None


def test_a_lease_that_stock_has_held_is_acquired_as_the_first_term(store):
    insert_raw(store, tables.scheduler_leases, lease_key="scheduler", acquired_at=1, ttl_seconds=20)

    assert acquire(store).fence == 1
    assert acquire(store, "another") is None


def test_a_lease_that_ran_out_is_acquired_as_a_new_term(store, clock):
    acquire(store, "a")
    clock.advance(seconds=19)
    assert acquire(store) is None
    clock.advance(seconds=2)

    assert acquire(store, "b").fence == 2


def test_a_leader_sees_that_there_is_nothing_to_do(store, clock):
    term = acquire(store, "a")
    clock.advance(seconds=15)
    before = store.now_ms()
    outlook = store.lead(term, 20.0)
    assert before <= outlook.now_ms <= store.now_ms()
    clock.advance(seconds=10)

    assert (outlook.stale_at_ms, outlook.recovery_waits) == (None, False)
    assert store.lead(term, 20.0)


def test_a_term_that_ran_out_leads_no_more(store, clock):
    term = acquire(store, "a")
    clock.advance(seconds=21)

    assert store.lead(term, 20.0) is None
    assert acquire(store, "b").fence == 2


def test_a_leader_sees_when_the_first_lease_runs_out(store, clock):
    term = acquire(store, "a")
    first = claim_one(store)
    clock.advance(seconds=10)
    second = claim_one(store)
    outlook = store.lead(term, 20.0)

    assert outlook.stale_at_ms == row_of(store, first.claim.job_id).lease_expires_at
    store.succeed(first.claim, "1")
    outlook = store.lead(term, 20.0)
    assert outlook.stale_at_ms == row_of(store, second.claim.job_id).lease_expires_at


def test_a_leader_sees_when_the_first_job_is_past_its_timeout(store):
    term = acquire(store, "a")
    claim_one(store)
    slow = claim_one(store, timeout=10.0)
    change_raw(store, claim_one(store).claim.job_id, timeout=1e300)
    outlook = store.lead(term, 20.0)

    assert outlook.stale_at_ms == row_of(store, slow.claim.job_id).started_at + 11_500


def test_a_running_job_without_a_lease_is_stale_at_once(store):
    term = acquire(store, "a")
    change_raw(store, claim_one(store).claim.job_id, lease_expires_at=None)

    assert store.lead(term, 20.0).stale_at_ms == 0


def test_a_leader_sees_that_a_job_waits_for_recovery(store):
    term = acquire(store, "a")
    to_recovery(store, claim_one(store))

    assert store.lead(term, 20.0).recovery_waits


def test_what_a_leader_expects_is_when_a_sweep_finds_something(store, clock):
    term = acquire(store, "a", ttl_seconds=1000.0)
    store.renew([claim_one(store, timeout=100.0).claim], 1000)
    outlook = store.lead(term, 1000.0)
    clock.advance(seconds=(outlook.stale_at_ms - outlook.now_ms) / 1000 - 60)
    assert store.sweep(term) == 0
    clock.advance(seconds=60.01)

    assert store.sweep(term) == 1


def test_a_lease_may_be_longer_than_32_bits_have_milliseconds(store):
    term = store.acquire_scheduler_lease("scheduler", "me", ttl_seconds=10_000_000)

    assert store.renew_scheduler_lease(term, ttl_seconds=10_000_000)
    assert store.acquire_scheduler_lease("scheduler", "other", ttl_seconds=1) is None


def test_how_long_a_lease_lasts(store, clock):
    assert store.scheduler_lease_lasts("scheduler") == 0
    term = acquire(store, "a")
    clock.advance(seconds=5)
    assert 0 < store.scheduler_lease_lasts("scheduler") <= 15
    store.release_scheduler_lease(term)
    assert store.scheduler_lease_lasts("scheduler") == 0
    acquire(store, "b")
    clock.advance(seconds=21)
    assert store.scheduler_lease_lasts("scheduler") == 0


def test_renewal_keeps_the_term_for_another_time_to_live(store, clock):
    term = acquire(store, "a")
    clock.advance(seconds=15)

    assert store.renew_scheduler_lease(term, 20.0)
    clock.advance(seconds=15)
    assert acquire(store) is None


def test_a_term_that_ran_out_is_not_renewed_even_if_nobody_took_the_lease(store, clock):
    term = acquire(store, "a")
    clock.advance(seconds=21)

    assert not store.renew_scheduler_lease(term, 20.0)
    assert acquire(store, "a").fence == 2


def test_a_released_lease_is_free_at_once_and_its_old_term_is_over(store):
    term = acquire(store, "a")

    assert store.release_scheduler_lease(term)
    assert not store.release_scheduler_lease(term)
    assert not store.renew_scheduler_lease(term, 20.0)
    again = acquire(store, "a")
    assert again.fence == 2
    assert not store.renew_scheduler_lease(term, 20.0)
    assert not store.release_scheduler_lease(term)
    assert store.renew_scheduler_lease(again, 20.0)


def test_a_fraction_of_a_second_is_never_less_in_the_database(store, clock):
    term = acquire(store, "a", ttl_seconds=0.5)
    clock.advance(seconds=0.4)

    assert store.renew_scheduler_lease(term, 0.5)


@pytest.mark.parametrize("before", ["never held", "run out", "released"])
def test_of_many_that_acquire_at_once_one_leads(store, clock, before):
    if before != "never held":
        earlier = acquire(store, "before")
    if before == "run out":
        clock.advance(seconds=21)
    if before == "released":
        store.release_scheduler_lease(earlier)
    start = threading.Barrier(6)

    def run(holder):
        start.wait()
        return acquire(store, holder)

    with ThreadPoolExecutor(6) as candidates:
        terms = list(candidates.map(run, "abcdef"))

    (term,) = (term for term in terms if term is not None)
    assert term.fence == (1 if before == "never held" else 2)
    assert store.renew_scheduler_lease(term, 20.0)


def test_discovery_creates_nothing_while_its_key_has_an_unfinished_job(store):
    term = lead(store)

    first = create(store, lock_key="key", term=term)

    assert create(store, lock_key="key", term=term) is None
    assert create(store, lock_key="key", term=term, workspace="team") is not None
    assert create(store, lock_key="another key", term=term) is not None
    store.cancel_job(first.job_id)
    assert create(store, lock_key="key", term=term) is not None


def test_a_user_may_submit_a_second_job_with_the_same_key(store):
    create(store, lock_key="key")

    assert create(store, lock_key="key") is not None


def test_a_periodic_run_begins_once_per_due_time_and_never_backwards(store):
    term = lead(store)

    assert store.last_periodic_run("task") is None
    begun = [store.begin_periodic_run("task", due, term) for due in (1000, 1000, 500, 2000, 2000)]

    assert begun == [True, False, False, True, False]
    assert store.last_periodic_run("task") == 2000
    assert store.begin_periodic_run("another task", 1000, term)


def test_of_many_that_begin_one_due_time_one_does(store):
    term = lead(store)
    for due in (1000, 2000):
        start = threading.Barrier(6)

        def run(due, start=start):
            start.wait()
            return store.begin_periodic_run("task", due, term)

        with ThreadPoolExecutor(6) as threads:
            begun = list(threads.map(run, [due] * 6))
        assert sorted(begun) == [False] * 5 + [True]


@pytest.mark.parametrize("first", [True, False])
def test_only_the_leader_begins_a_periodic_run(store, clock, first):
    term = lead(store, ttl_seconds=20)
    if not first:
        store.begin_periodic_run("task", 500, term)
    clock.advance(seconds=21)

    assert not store.begin_periodic_run("task", 1000, term)
    assert store.begin_periodic_run("task", 1000, lead(store, "next"))


def test_creation_under_a_term_that_ended_says_so(store, clock):
    term = lead(store, "first")
    clock.advance(seconds=21)
    lead(store, "second")

    with pytest.raises(LeadershipLost, match="first"):
        create(store, term=term)
