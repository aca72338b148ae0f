"""The checkpoint that rides in T5."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import tables
from mlflow.store.jobs.values import CheckpointMove, JobUpdateStatus
from tests.store.jobs.store_factories import claim_one, insert_raw, status_of

TAG = "mlflow.latestOnlineScoring.trace.checkpoint"


def at(timestamp_ms, trace_id="tr-1", experiment_id="7"):
    return CheckpointMove(experiment_id, TAG, {"timestamp_ms": timestamp_ms, "trace_id": trace_id})


def succeed(store, checkpoint):
    assert store.succeed(claim_one(store).claim, None, checkpoint) is JobUpdateStatus.APPLIED


def stored(store):
    with store.engine.connect() as connection:
        rows = connection.execute(sqlalchemy.select(tables.experiment_tags)).all()
    return {row.experiment_id: row.value for row in rows if row.key == TAG}


@pytest.fixture(autouse=True)
def _experiment(store):
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM experiments WHERE experiment_id = 7")
        connection.exec_driver_sql(
            "INSERT INTO experiments (experiment_id, name, lifecycle_stage, workspace)"
            " VALUES (7, 'scored', 'active', 'default')"
        )
    yield
    with store.engine.begin() as connection:
        connection.execute(tables.experiment_tags.delete())


def test_the_first_checkpoint_is_written_as_the_tag_that_mlflow_reads(store):
    succeed(store, at(1000))

    assert json.loads(stored(store)[7]) == {"timestamp_ms": 1000, "trace_id": "tr-1"}


@pytest.mark.parametrize(
    ("then", "moved"),
    [
        (at(1001), True),
        (at(1000, "tr-2"), True),
        (at(1000, "tr-1"), False),
        (at(1000, "tr-0"), False),
        (at(999, "tr-9"), False),
    ],
)
def test_a_checkpoint_moves_forward_only(store, then, moved):
    succeed(store, at(1000, "tr-1"))

    succeed(store, then)

    expected = then.value if moved else at(1000, "tr-1").value
    assert json.loads(stored(store)[7]) == expected


def test_sessions_are_ordered_by_their_own_id(store):
    def session(timestamp_ms, session_id):
        value = {"timestamp_ms": timestamp_ms, "session_id": session_id}
        return CheckpointMove("7", TAG, value)

    for move in (session(1000, "s-2"), session(1000, "s-1"), session(1000, "s-3")):
        succeed(store, move)

    assert json.loads(stored(store)[7])["session_id"] == "s-3"


@pytest.mark.parametrize("value", ["not json", "[]", "{}", None])
def test_an_unreadable_checkpoint_is_replaced(store, value):
    insert_raw(store, tables.experiment_tags, key=TAG, experiment_id=7, value=value)

    succeed(store, at(5))

    assert json.loads(stored(store)[7])["timestamp_ms"] == 5


def test_an_experiment_that_is_gone_does_not_keep_its_job_from_succeeding(store):
    claim = claim_one(store).claim

    assert store.succeed(claim, None, at(1000, experiment_id="404")) is JobUpdateStatus.APPLIED
    assert status_of(store, claim.job_id) is JobStatus.SUCCEEDED
    assert stored(store) == {}


def test_of_checkpoints_that_move_at_once_the_furthest_stays(store):
    claims = [claim_one(store).claim for _ in range(6)]
    start = threading.Barrier(6)

    def run(place):
        start.wait()
        return store.succeed(claims[place], None, at(1000 + place))

    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(run, range(6)))

    assert answers == [JobUpdateStatus.APPLIED] * 6
    assert json.loads(stored(store)[7])["timestamp_ms"] == 1005
