"""I1: a runner that was paused past its lease changes nothing when it wakes."""

import json

import pytest
import sqlalchemy

from mlflow.store.jobs import tables
from mlflow.store.jobs.values import CheckpointMove, JobUpdateStatus, Success
from tests.store.jobs.store_factories import (
    LEASE_SECONDS,
    claim,
    claim_one,
    lead,
    locks_of,
    row_of,
)

TAG = "mlflow.latestOnlineScoring.trace.checkpoint"
CHECKPOINT = CheckpointMove("7", TAG, {"timestamp_ms": 1, "trace_id": "tr"})
CLAIM_LOST = JobUpdateStatus.CLAIM_LOST

LATE_WRITES = {
    "T4 renew": (lambda store, paused: store.renew([paused], 30), lambda paused: {paused}),
    "T5 succeed": (lambda store, paused: store.succeed(paused, "1", CHECKPOINT), CLAIM_LOST),
    "T5 together": (lambda store, paused: store.succeed_all([Success(paused, "1")]), False),
    "T6 fail": (lambda store, paused: store.fail(paused, "late"), CLAIM_LOST),
    "T6 time out": (lambda store, paused: store.time_out(paused), CLAIM_LOST),
    "T7 retry": (lambda store, paused: store.retry(paused, "late", 5), CLAIM_LOST),
    "T8 confirm": (lambda store, paused: store.confirm_canceled(paused), CLAIM_LOST),
    "T10 abandon": (lambda store, paused: store.abandon([paused]), 0),
    "progress": (
        lambda store, paused: store.update_job_progress(paused.job_id, "late", fence=paused.fence),
        CLAIM_LOST,
    ),
    "status details": (
        lambda store, paused: store.update_status_details(
            paused.job_id, {"late": 1}, fence=paused.fence
        ),
        CLAIM_LOST,
    ),
}


def tags(store):
    with store.engine.connect() as connection:
        return connection.execute(sqlalchemy.select(tables.experiment_tags)).all()


@pytest.mark.parametrize(("write", "answer"), LATE_WRITES.values(), ids=LATE_WRITES)
@pytest.mark.parametrize("recovered_by", ["requeue", "reattach"])
def test_a_runner_paused_past_its_lease_changes_nothing(store, clock, recovered_by, write, answer):
    paused = claim_one(store, replica="a", lock_key="key").claim
    clock.advance(seconds=LEASE_SECONDS + 1)
    term = lead(store)
    store.sweep(term)
    (candidate,) = store.recovery_candidates()
    if recovered_by == "requeue":
        store.requeue(candidate, term, max_recoveries=3)
        (current,) = (job.claim for job in claim(store, "b").claimed)
    else:
        current = store.reattach(candidate, "b", LEASE_SECONDS, term)
    before = row_of(store, paused.job_id), locks_of(store), tags(store)

    late = write(store, paused)

    assert late == (answer(paused) if callable(answer) else answer)
    assert (row_of(store, paused.job_id), locks_of(store), tags(store)) == before
    assert store.renew([current], LEASE_SECONDS) == set()


def test_a_canceled_jobs_owner_stores_no_result(store):
    owned = claim_one(store, params=json.dumps({"a": 1})).claim
    store.cancel_job(owned.job_id)
    before = row_of(store, owned.job_id)

    assert store.succeed(owned, "1", CHECKPOINT) is JobUpdateStatus.WRONG_STATE
    assert row_of(store, owned.job_id) == before
    assert tags(store) == []
