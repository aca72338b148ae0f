"""I5: a checkpoint moves exactly when its job succeeds, in one transaction, never backwards."""

import json

import pytest
import sqlalchemy

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import checkpoints, tables
from mlflow.store.jobs.values import CheckpointMove
from tests.store.jobs.store_factories import claim_one, locks_of, row_of, status_of

TAG = "mlflow.latestOnlineScoring.trace.checkpoint"


def at(timestamp_ms):
    return CheckpointMove("7", TAG, {"timestamp_ms": timestamp_ms, "trace_id": "tr"})


@pytest.fixture(autouse=True)
def _experiment(store):
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM experiments WHERE experiment_id = 7")
        connection.exec_driver_sql(
            "INSERT INTO experiments (experiment_id, name, lifecycle_stage, workspace)"
            " VALUES (7, 'scored', 'active', 'default')"
        )


def checkpoint(store):
    with store.engine.connect() as connection:
        value = connection.scalar(
            sqlalchemy.select(tables.experiment_tags.c.value).where(
                tables.experiment_tags.c.key == TAG
            )
        )
    return value and json.loads(value)["timestamp_ms"]


def test_it_moves_with_success_and_with_nothing_else(store):
    for end in (
        lambda owned: store.fail(owned, "broken"),
        lambda owned: store.time_out(owned),
        lambda owned: store.retry(owned, "flaky", 60),
        lambda owned: store.cancel_job(owned.job_id),
    ):
        end(claim_one(store).claim)
        assert checkpoint(store) is None
    store.succeed(claim_one(store).claim, None, at(100))
    assert checkpoint(store) == 100


def test_the_same_success_again_does_not_move_it(store):
    owned = claim_one(store).claim
    store.succeed(owned, None, at(100))
    store.succeed(owned, None, at(200))

    assert checkpoint(store) == 100


def test_it_never_moves_backwards(store):
    for timestamp, expected in ((100, 100), (50, 100), (150, 150)):
        store.succeed(claim_one(store).claim, None, at(timestamp))
        assert checkpoint(store) == expected


def test_a_success_whose_checkpoint_cannot_be_written_has_not_happened(store, monkeypatch):
    owned = claim_one(store, lock_key="key").claim
    before = row_of(store, owned.job_id), locks_of(store)

    def fail_after_writing(connection, move, written=checkpoints.move):
        written(connection, move)
        raise ConnectionError("the database went away")

    monkeypatch.setattr(checkpoints, "move", fail_after_writing)
    with pytest.raises(ConnectionError):
        store.succeed(owned, "1", at(100))

    assert checkpoint(store) is None
    assert (row_of(store, owned.job_id), locks_of(store)) == before
    assert status_of(store, owned.job_id) is JobStatus.RUNNING
