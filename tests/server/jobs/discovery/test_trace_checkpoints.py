"""Checkpoints keep the tag and the shape that 3.18 wrote and reads."""

import json

import pytest

from mlflow.entities import Experiment, ExperimentTag
from mlflow.genai.scorers.online.trace_checkpointer import OnlineTraceScoringCheckpoint
from mlflow.server.jobs.discovery.trace_batches import Position
from mlflow.server.jobs.discovery.trace_checkpoints import (
    checkpoint_move,
    checkpoint_of,
    checkpoint_value,
)

TAG = "mlflow.latestOnlineScoring.trace.checkpoint"


def experiment_with(text):
    return Experiment("1", "scored", "file:///x", "active", tags=[ExperimentTag(TAG, text)])


@pytest.mark.parametrize("position", [Position(12, "tr-1"), Position(12)])
def test_what_is_written_is_what_is_read(position):
    assert checkpoint_of(experiment_with(json.dumps(checkpoint_value(position)))) == position


@pytest.mark.parametrize("trace_id", ["tr-1", None])
def test_releases_and_this_read_each_other(trace_id):
    theirs = OnlineTraceScoringCheckpoint(timestamp_ms=12, trace_id=trace_id)
    ours = Position(12, trace_id or "")

    assert checkpoint_of(experiment_with(theirs.to_json())) == ours
    assert OnlineTraceScoringCheckpoint.from_json(json.dumps(checkpoint_value(ours))) == theirs


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "7",
        "not json",
        "{}",
        '{"timestamp_ms": "12"}',
        '{"timestamp_ms": true}',
        '{"timestamp_ms": 12, "trace_id": 7}',
    ],
)
def test_an_unreadable_checkpoint_is_none(text):
    assert checkpoint_of(experiment_with(text)) is None


def test_an_experiment_without_the_tag_has_no_checkpoint():
    assert checkpoint_of(Experiment("1", "scored", "file:///x", "active")) is None


def test_a_move_names_experiment_tag_and_value():
    assert checkpoint_move("7", Position(12, "tr-1")) == {
        "experiment_id": "7",
        "tag": TAG,
        "value": {"timestamp_ms": 12, "trace_id": "tr-1"},
    }
