"""Whoever sets up an online scorer holds what it will be granted: it runs as somebody else.

That is USE of each gateway endpoint that it calls, and what a custom scorer declares: USE of
endpoints and READ of prompts.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mlflow.exceptions import MlflowException
from mlflow.genai.scorers.needs import needs_of_serialized
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.store.tracking.abstract_store import AbstractStore


@dataclass(frozen=True)
class Caller:
    """What the caller may do.

    Attributes:
        may_use: Whether the gateway endpoint of this name may be called.
        may_read: Whether the prompt of this name may be read.
    """

    may_use: Callable[[str], bool]
    may_read: Callable[[str], bool]


def may_switch_on(
    store: AbstractStore, experiment_id: str, name: str, sample_rate: object, caller: Caller
) -> bool:
    """Whether the caller may let a registered scorer run online at this rate.

    Args:
        store: Where the scorer is registered.
        experiment_id: The experiment of the scorer.
        name: The scorer.
        sample_rate: As it was sent. Nothing runs at 0, so anybody may set that.
        caller: Who asks.
    """
    if sample_rate == 0:
        return True
    scorer = store.get_scorer(experiment_id, name)
    return _holds_its_needs(scorer._serialized_scorer, caller)


def may_register(
    store: AbstractStore, experiment_id: str, name: str, serialized_scorer: str, caller: Caller
) -> bool:
    """Whether the caller may register this version: if the scorer is online, it runs from now on.

    Args:
        store: Where it is to be registered.
        experiment_id: The experiment of the scorer.
        name: The scorer.
        serialized_scorer: The new version.
        caller: Who asks.
    """
    return _holds_its_needs(serialized_scorer, caller) or not _is_online(store, experiment_id, name)


def _holds_its_needs(serialized_scorer: str, caller: Caller) -> bool:
    # What cannot be read needs nothing here: the handler, or the submission, says what is wrong.
    needs = needs_of_serialized(serialized_scorer)
    return all(map(caller.may_use, sorted(needs.endpoints))) and all(
        map(caller.may_read, sorted(needs.prompts))
    )


def _is_online(store: AbstractStore, experiment_id: str, name: str) -> bool:
    try:
        scorer = store.get_scorer(experiment_id, name)
    except MlflowException as e:
        if e.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            return False
        raise
    configs = store.get_online_scoring_configs([scorer.scorer_id])
    return any(config.sample_rate > 0 for config in configs)
