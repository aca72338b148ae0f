"""I4: one live holder per lock key, until 115% of its timeout; then the older can write nothing."""

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs.values import JobUpdateStatus
from tests.store.jobs.store_factories import (
    LEASE_SECONDS,
    claim,
    claim_one,
    create,
    lead,
    row_of,
    status_of,
)

LIVE = {
    "RUNNING": lambda store, owned: None,
    "RUNNING past its lease": lambda store, owned: advance(store, LEASE_SECONDS + 1),
    "swept": lambda store, owned: (advance(store, LEASE_SECONDS + 1), store.sweep(lead(store))),
    "abandoned": lambda store, owned: store.abandon([owned]),
    "canceled, not confirmed": lambda store, owned: store.cancel_job(owned.job_id),
    "reattached": lambda store, owned: (
        store.abandon([owned]),
        store.reattach(store.recovery_candidates()[0], "b", LEASE_SECONDS, lead(store)),
    ),
}


def advance(store, seconds):
    store.clock_offset_ms += int(seconds * 1000)


@pytest.mark.parametrize("becomes", LIVE.values(), ids=LIVE)
def test_a_second_job_with_the_key_never_runs_beside_live_work(store, becomes):
    owned = claim_one(store, lock_key="key", timeout=600.0).claim
    becomes(store, owned)
    second = create(store, lock_key="key")

    batch = claim(store, "c")

    assert batch.claimed == []
    assert status_of(store, second.job_id) is JobStatus.CANCELED


def test_who_lost_the_lock_by_overrun_can_write_nothing_any_more(store, clock):
    owned = claim_one(store, lock_key="key", timeout=100.0).claim
    clock.advance(seconds=116)
    create(store, lock_key="key")
    assert len(claim(store, "c").claimed) == 1
    before = row_of(store, owned.job_id)

    assert store.succeed(owned, "late") is not JobUpdateStatus.APPLIED
    assert store.fail(owned, "late") is not JobUpdateStatus.APPLIED
    assert store.retry(owned, "late", 0) is not JobUpdateStatus.APPLIED
    assert store.renew([owned], LEASE_SECONDS) == {owned}
    assert row_of(store, owned.job_id) == before
    assert store.recovery_candidates() == []
