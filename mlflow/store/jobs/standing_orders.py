"""What users have asked to be done again and again, in all workspaces at once. Keeps I10.

Most servers have no such order, and those that have many workspaces have it in few of them. A
periodic task that walks through all workspaces to find that out would cost more with each one.
"""

from sqlalchemy import Select, select

from mlflow.store.jobs.tables import experiment_tags, experiments, online_scoring_configs


def scored_workspaces() -> Select:
    """The workspaces in which some scorer is to run online."""
    return (
        select(experiments.c.workspace)
        .select_from(online_scoring_configs)
        .join(experiments, experiments.c.experiment_id == online_scoring_configs.c.experiment_id)
        .where(online_scoring_configs.c.sample_rate > 0)
        .distinct()
    )


def tagged_experiment(key: str) -> Select:
    """Some experiment with a tag of this key."""
    return select(experiment_tags.c.experiment_id).where(experiment_tags.c.key == key).limit(1)
