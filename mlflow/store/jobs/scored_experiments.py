"""What discovery reads before it looks at any one experiment; one statement each (I10).

Neither the number of experiments nor that of workspaces adds a statement. The newest trace of each
experiment is one step in an index, however many traces there are.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Select, and_, case, func, literal, or_, select, union_all
from sqlalchemy.engine import Connection

from mlflow.store.jobs import statements, transitions
from mlflow.store.jobs.tables import (
    experiment_tags,
    experiments,
    jobs,
    online_scoring_configs,
    trace_info,
)
from mlflow.store.jobs.values import ScoredExperiment

_ACTIVE = "active"


def scored_experiments(
    connection: Connection, ends_ms: Mapping[str, int], experiment_id: str | None
) -> list[ScoredExperiment]:
    """The active experiments with scorers that are switched on.

    Args:
        connection: Where to read.
        ends_ms: Checkpoint tag to the end of the window that it is about.
        experiment_id: Only this one; None stands for all.
    """
    tags = list(ends_ms)
    found = []
    for row in connection.execute(_scored(ends_ms, experiment_id)):
        texts = [getattr(row, f"text_{number}") for number, _ in enumerate(tags)]
        newest = [getattr(row, f"newest_{number}") for number, _ in enumerate(tags)]
        found.append(
            ScoredExperiment(
                experiment_id=str(row.experiment_id),
                workspace=row.workspace,
                scorer_count=row.configs,
                configuration=f"{row.configs} {row.first_config} {row.last_config} {row.rates}",
                checkpoints={
                    tag: text for tag, text in zip(tags, texts, strict=True) if text is not None
                },
                newest_trace_ms=dict(zip(tags, newest, strict=True)),
            )
        )
    return found


def _scored(ends_ms: Mapping[str, int], experiment_id: str | None) -> Select:
    of_config = online_scoring_configs.c
    configs = select(
        of_config.experiment_id,
        func.count().label("configs"),
        func.min(of_config.online_scoring_config_id).label("first_config"),
        func.max(of_config.online_scoring_config_id).label("last_config"),
        func.sum(of_config.sample_rate).label("rates"),
    ).where(of_config.sample_rate > 0)
    if experiment_id is not None:
        configs = configs.where(of_config.experiment_id == int(experiment_id))
    scored = configs.group_by(of_config.experiment_id).subquery("scored")

    experiment = experiments.c
    source = scored.join(experiments, experiment.experiment_id == scored.c.experiment_id)
    columns = [
        experiment.experiment_id,
        experiment.workspace,
        scored.c.configs,
        scored.c.first_config,
        scored.c.last_config,
        scored.c.rates,
    ]
    for number, (tag, end_ms) in enumerate(ends_ms.items()):
        checkpoint = experiment_tags.alias(f"checkpoint_{number}")
        source = source.outerjoin(
            checkpoint,
            and_(
                checkpoint.c.key == tag,
                checkpoint.c.experiment_id == experiment.experiment_id,
            ),
        )
        # A tag without a value counts as one that cannot be read, not as absent.
        text = case(
            (checkpoint.c.key.is_(None), None),
            else_=func.coalesce(checkpoint.c.value, literal("", checkpoint.c.value.type)),
        )
        columns += [
            text.label(f"text_{number}"),
            select(func.max(trace_info.c.timestamp_ms))
            .where(
                trace_info.c.experiment_id == experiment.experiment_id,
                trace_info.c.timestamp_ms < end_ms,
            )
            .correlate(experiments)
            .scalar_subquery()
            .label(f"newest_{number}"),
        ]
    return select(*columns).select_from(source).where(experiment.lifecycle_stage == _ACTIVE)


def unfinished(
    connection: Connection, job_names: Collection[str], lock_keys: Collection[str] | None
) -> list[tuple[str, str | None, dict[str, Any], str]]:
    """Name, lock key, params and workspace of unfinished jobs.

    Params are read of those alone that were stored without a lock key, as stock MLflow does.
    """
    params = case((jobs.c.lock_key.is_(None), jobs.c.params), else_=None)
    wanted = [jobs.c.job_name.in_(list(job_names))]
    if lock_keys is not None:
        any_of = jobs.c.lock_key.in_(list(lock_keys))
        wanted.append(or_(any_of, jobs.c.lock_key.is_(None)))
    found = select(jobs.c.job_name, jobs.c.lock_key, params.label("params"), jobs.c.workspace)
    # Two ranges: of those that somebody owns PostgreSQL has no index by type.
    statement = union_all(
        *(
            found.where(statements.in_states(states), *wanted)
            for states in ({transitions.PENDING}, transitions.OWNED)
        )
    )
    return [
        (row.job_name, row.lock_key, _object(row.params), row.workspace)
        for row in connection.execute(statement)
    ]


def _object(text: str | None) -> dict[str, Any]:
    try:
        read = json.loads(text or "{}")
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}
