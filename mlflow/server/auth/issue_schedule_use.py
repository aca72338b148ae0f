"""Whoever schedules issue detection may use the model that it names: it runs as somebody else.

A schedule is a tag of an experiment. What a paused one, or one that this server cannot read, names
is called by nobody, so anybody who may edit the experiment may set that.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mlflow.entities.experiment_tag import ExperimentTag
from mlflow.genai.discovery.schedule import parse_detection_schedule
from mlflow.utils.mlflow_tags import MLFLOW_ISSUE_DETECTION_SCHEDULE


@dataclass(frozen=True)
class Caller:
    """What the caller may do.

    Attributes:
        may_use_endpoint: Whether the gateway endpoint of this name may be called.
        may_use_secret: Whether the gateway secret of this id may be used.
    """

    may_use_endpoint: Callable[[str], bool]
    may_use_secret: Callable[[str], bool]


def may_set_tags(tags: Iterable[ExperimentTag], caller: Caller) -> bool:
    """Whether the caller may give an experiment these tags, once allowed to edit it.

    Args:
        tags: As they were sent.
        caller: Who asks.
    """
    schedules = (tag.value for tag in tags if tag.key == MLFLOW_ISSUE_DETECTION_SCHEDULE)
    return all(_may_schedule(schedule, caller) for schedule in schedules)


def _may_schedule(raw_schedule: str, caller: Caller) -> bool:
    schedule = parse_detection_schedule(raw_schedule)
    if schedule is None or schedule.paused or schedule.model is None:
        return True
    if endpoint := schedule.model.endpoint_name:
        return caller.may_use_endpoint(endpoint)
    secret = schedule.model.secret_id
    return not secret or caller.may_use_secret(secret)
