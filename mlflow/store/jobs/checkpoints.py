"""Move a checkpoint, inside the transaction in which the job that covers its range succeeds (I5).

The checkpoint is the value of an experiment's tag. It is ordered by its time, then by the id that
it names, and a move to an earlier or the same place does nothing. A value that cannot be read
counts as earlier than any other.

No job covers where a checkpoint begins. The leader puts it there, under its term (I6) and only in
place of the very text that it has read, so that it undoes no move; and it takes checkpoints away
where nothing is scored any more.
"""

import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Delete,
    delete,
    exists,
    insert,
    literal,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.engine import Connection

from mlflow.store.jobs import dialects, lease_rows
from mlflow.store.jobs.tables import (
    experiment_tags,
    experiments,
    online_scoring_configs,
    scheduler_leases,
)
from mlflow.store.jobs.transaction import Raced
from mlflow.store.jobs.values import CheckpointMove, Term

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


def begin(
    connection: Connection, checkpoint: CheckpointMove, term: Term, now: ColumnElement
) -> bool:
    """Put a checkpoint where there is none; False if there is one, or the term has ended (I6)."""
    first = insert(experiment_tags).from_select(
        ["key", "experiment_id", "value"],
        select(
            literal(checkpoint.tag, _tags.key.type),
            experiments.c.experiment_id,
            literal(json.dumps(checkpoint.value), _tags.value.type),
        )
        .select_from(experiments.join(scheduler_leases, true()))
        .where(
            experiments.c.experiment_id == int(checkpoint.experiment_id),
            lease_rows.held(term, now),
        ),
    )
    return dialects.insert_if_absent(connection, first)


def replace(
    connection: Connection,
    checkpoint: CheckpointMove,
    instead_of: str,
    term: Term,
    now: ColumnElement,
) -> bool:
    """Put a checkpoint in place of this text; False if it is another by now, or the term ended."""
    replaced = (
        update(experiment_tags)
        .where(*_stands(checkpoint.experiment_id, checkpoint.tag, instead_of))
        .where(lease_rows.holds(term, now))
        .values(value=json.dumps(checkpoint.value))
    )
    return connection.execute(replaced).rowcount == 1


def forget(experiment_id: str, tag: str, instead_of: str, term: Term, now: ColumnElement) -> Delete:
    """Take away the checkpoint of this text."""
    return (
        delete(experiment_tags)
        .where(*_stands(experiment_id, tag, instead_of))
        .where(lease_rows.holds(term, now))
    )


def forget_unscored(tags: Collection[str], term: Term, now: ColumnElement) -> Delete:
    """Take away the checkpoints of experiments in which no scorer is switched on."""
    configs = online_scoring_configs.c
    scored = exists(
        select(literal_column("1"))
        .select_from(online_scoring_configs)
        .where(configs.experiment_id == _tags.experiment_id, configs.sample_rate > 0)
        .correlate(experiment_tags)
    )
    return delete(experiment_tags).where(
        _tags.key.in_(list(tags)), ~scored, lease_rows.holds(term, now)
    )


def _stands(experiment_id: str, tag: str, text: str) -> list[ColumnElement[bool]]:
    same = _tags.value == text
    return [
        _tags.key == tag,
        _tags.experiment_id == int(experiment_id),
        same if text else or_(same, _tags.value.is_(None)),
    ]


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
