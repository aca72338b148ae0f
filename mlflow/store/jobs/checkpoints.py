"""Move a checkpoint, inside the transaction in which the job that covers its range succeeds (I5).

The checkpoint is the value of an experiment's tag. It is ordered by its time, then by the id that
it names, and a move to an earlier or the same place does nothing. A value that cannot be read
counts as earlier than any other.
"""

import json
from typing import Any

from sqlalchemy import insert, literal, select, update
from sqlalchemy.engine import Connection

from mlflow.store.jobs import dialects
from mlflow.store.jobs.tables import experiment_tags, experiments
from mlflow.store.jobs.transaction import Raced
from mlflow.store.jobs.values import CheckpointMove

_tags = experiment_tags.c


def move(connection: Connection, checkpoint: CheckpointMove) -> None:
    """Move the checkpoint forward.

    An experiment that is gone takes its checkpoint with it; the job has succeeded all the same.

    Raises:
        Raced: Somebody else moved it since it was read.
    """
    experiment_id = int(checkpoint.experiment_id)
    this_tag = (_tags.key == checkpoint.tag, _tags.experiment_id == experiment_id)
    value = json.dumps(checkpoint.value)
    stored = connection.execute(select(_tags.value).where(*this_tag)).one_or_none()
    if stored is None:
        first = insert(experiment_tags).from_select(
            ["key", "experiment_id", "value"],
            select(
                literal(checkpoint.tag, _tags.key.type),
                experiments.c.experiment_id,
                literal(value, _tags.value.type),
            ).where(experiments.c.experiment_id == experiment_id),
        )
        if not dialects.insert_if_absent(connection, first) and _exists(connection, experiment_id):
            raise Raced
        return
    if not _is_before(stored.value, checkpoint.value):
        return
    unchanged = _tags.value.is_(None) if stored.value is None else _tags.value == stored.value
    moved = update(experiment_tags).where(*this_tag, unchanged).values(value=value)
    if connection.execute(moved).rowcount == 0:
        raise Raced


def _exists(connection: Connection, experiment_id: int) -> bool:
    found = select(experiments.c.experiment_id).where(experiments.c.experiment_id == experiment_id)
    return connection.execute(found).first() is not None


def _is_before(stored: str | None, value: dict[str, Any]) -> bool:
    try:
        return _place(json.loads(stored)) < _place(value)
    except (AttributeError, KeyError, TypeError, ValueError):
        return True


def _place(value: dict[str, Any]) -> tuple[int, str]:
    return value["timestamp_ms"], value.get("trace_id") or value.get("session_id") or ""
