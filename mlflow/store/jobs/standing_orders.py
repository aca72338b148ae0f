"""What users have asked to be done again and again, in all workspaces at once. Keeps I10.

Most servers have no such order, and those that have many workspaces have it in few of them. A
periodic task that walks through all workspaces to find that out would cost more with each one.
"""

from collections.abc import Collection

from sqlalchemy import Select, exists, literal_column, or_, select

from mlflow.store.jobs.tables import experiment_tags, online_scoring_configs


def online_scoring(checkpoint_tags: Collection[str]) -> Select:
    """One row if some scorer is to run online, or has left a checkpoint that is to be forgotten."""
    one = literal_column("1")
    scored = select(one).where(online_scoring_configs.c.sample_rate > 0)
    left = select(one).where(experiment_tags.c.key.in_(list(checkpoint_tags)))
    return select(one).where(or_(exists(scored), exists(left)))


def tagged_experiment(key: str) -> Select:
    """Some experiment with a tag of this key."""
    return select(experiment_tags.c.experiment_id).where(experiment_tags.c.key == key).limit(1)
