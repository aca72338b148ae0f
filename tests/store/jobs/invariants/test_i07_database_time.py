"""I7: no host's clock decides; every stored and compared instant is the database's."""

import time

import pytest

from tests.store.jobs.store_factories import (
    LEASE_SECONDS,
    claim,
    claim_one,
    create,
    lead,
    row_of,
)


@pytest.fixture(params=[-3600.0, 3600.0], ids=["an hour behind", "an hour ahead"])
def right_clock(monkeypatch, request):
    """This host's clock is wrong from now on; answers one that is right."""
    host_time, host_time_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: host_time() + request.param)
    monkeypatch.setattr(time, "time_ns", lambda: host_time_ns() + int(request.param * 1e9))
    return host_time


def test_database_time_is_epoch_milliseconds(store):
    assert abs(store.now_ms() - time.time() * 1000) < 60_000


def test_time_in_tests_moves_by_the_bound_offset(store, clock):
    before = store.now_ms()
    clock.advance(seconds=100)

    assert 100_000 <= store.now_ms() - before < 160_000


def test_a_host_whose_clock_is_wrong_does_what_all_others_do(store, right_clock):
    before = store.now_ms()
    assert abs(before - right_clock() * 1000) < 60_000
    created = create(store, term=lead(store))
    (claimed,) = claim(store).claimed
    row = row_of(store, created.job_id)

    assert before <= row.creation_time <= row.started_at <= store.now_ms()
    assert row.lease_expires_at == row.started_at + LEASE_SECONDS * 1000
    assert store.acquire_scheduler_lease("scheduler", "another", 20) is None
    store.retry(claimed.claim, "flaky", delay_seconds=600)
    assert claim(store).claimed == []
    store.retry(claim_one(store).claim, "flaky", delay_seconds=-1)
    assert len(claim(store).claimed) == 1
