"""Checkpoints keep the shape that 3.18 wrote and reads."""

import json

import pytest

from mlflow.genai.scorers.online.session_checkpointer import OnlineSessionScoringCheckpoint
from mlflow.genai.scorers.online.trace_checkpointer import OnlineTraceScoringCheckpoint
from mlflow.server.jobs.discovery.batches import Position
from mlflow.server.jobs.discovery.checkpoints import position_of, value_of
from mlflow.server.jobs.discovery.levels import LEVELS, SESSIONS, TRACES

THEIRS = {TRACES: OnlineTraceScoringCheckpoint, SESSIONS: OnlineSessionScoringCheckpoint}
levels = pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.unit)


@levels
@pytest.mark.parametrize("position", [Position(12, "id-1"), Position(12)])
def test_what_is_written_is_what_is_read(level, position):
    assert position_of(json.dumps(value_of(position, level.id_key)), level.id_key) == position


@levels
@pytest.mark.parametrize("entity_id", ["id-1", None])
def test_releases_and_this_read_each_other(level, entity_id):
    theirs = THEIRS[level](timestamp_ms=12, **{level.id_key: entity_id})
    ours = Position(12, entity_id or "")

    assert position_of(theirs.to_json(), level.id_key) == ours
    assert THEIRS[level].from_json(json.dumps(value_of(ours, level.id_key))) == theirs


@levels
@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "null",
        "[]",
        "7",
        "not json",
        "{}",
        '{"timestamp_ms": "12"}',
        '{"timestamp_ms": true}',
        '{"timestamp_ms": 12, "trace_id": 7, "session_id": 7}',
    ],
)
def test_an_unreadable_checkpoint_is_none(level, text):
    assert position_of(text, level.id_key) is None


def test_the_tags_are_those_of_3_18():
    assert (TRACES.tag, SESSIONS.tag) == (
        "mlflow.latestOnlineScoring.trace.checkpoint",
        "mlflow.latestOnlineScoring.session.checkpoint",
    )
