"""Read and write a position as 3.18's trace checkpoint: a JSON text in a tag of the experiment."""

import json
from typing import Any

from mlflow.entities import Experiment
from mlflow.server.jobs.discovery.trace_batches import Position
from mlflow.utils.mlflow_tags import MLFLOW_LATEST_ONLINE_SCORING_TRACE_CHECKPOINT

CHECKPOINT_TAG = MLFLOW_LATEST_ONLINE_SCORING_TRACE_CHECKPOINT


def checkpoint_of(experiment: Experiment) -> Position | None:
    """Where trace scoring of this experiment stands; None if it never ran or cannot be read."""
    try:
        value = json.loads(experiment.tags[CHECKPOINT_TAG])
        position = Position(value["timestamp_ms"], value.get("trace_id") or "")
    except (KeyError, TypeError, AttributeError, ValueError):
        return None
    well_formed = type(position.timestamp_ms) is int and isinstance(position.trace_id, str)
    return position if well_formed else None


def checkpoint_value(position: Position) -> dict[str, Any]:
    """The tag's JSON value."""
    return {"timestamp_ms": position.timestamp_ms, "trace_id": position.trace_id or None}


def checkpoint_move(experiment_id: str, position: Position) -> dict[str, Any]:
    """`next_checkpoint` of a job's params: what the job's success stores (I5)."""
    return {
        "experiment_id": experiment_id,
        "tag": CHECKPOINT_TAG,
        "value": checkpoint_value(position),
    }
