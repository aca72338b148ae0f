"""Read and write a position as 3.18's checkpoints: a JSON text in a tag of the experiment."""

import json
from typing import Any

from mlflow.server.jobs.discovery.batches import Position


def position_of(text: str | None, id_key: str) -> Position | None:
    """The position that a checkpoint's text names; None if there is none or it cannot be read.

    Args:
        text: Value of the tag.
        id_key: What 3.18 calls the id: `trace_id` or `session_id`.
    """
    try:
        value = json.loads(text or "")
        position = Position(value["timestamp_ms"], value.get(id_key) or "")
    except (KeyError, TypeError, AttributeError, ValueError):
        return None
    well_formed = type(position.timestamp_ms) is int and isinstance(position.entity_id, str)
    return position if well_formed else None


def value_of(position: Position, id_key: str) -> dict[str, Any]:
    """The JSON value of a checkpoint."""
    return {"timestamp_ms": position.timestamp_ms, id_key: position.entity_id or None}
