"""Whoever sets up an online scorer may use its model, since the leader runs it as somebody else."""

import json
from collections.abc import Callable

from mlflow.exceptions import MlflowException
from mlflow.genai.scorers.scorer_utils import (
    extract_endpoint_ref,
    extract_model_from_serialized_scorer,
    is_gateway_model,
)
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.store.tracking.abstract_store import AbstractStore

MayUse = Callable[[str], bool]


def may_switch_on(
    store: AbstractStore, experiment_id: str, name: str, sample_rate: object, may_use: MayUse
) -> bool:
    """Whether the caller may let a registered scorer run online at this rate.

    Args:
        store: Where the scorer is registered.
        experiment_id: The experiment of the scorer.
        name: The scorer.
        sample_rate: As it was sent. Nothing runs at 0, so anybody may set that.
        may_use: Whether the caller may use the gateway endpoint of this name.
    """
    if sample_rate == 0:
        return True
    scorer = store.get_scorer(experiment_id, name)
    return _may_use_model(scorer._serialized_scorer, may_use)


def may_register(
    store: AbstractStore, experiment_id: str, name: str, serialized_scorer: str, may_use: MayUse
) -> bool:
    """Whether the caller may register this version: if the scorer is online, it runs from now on.

    Args:
        store: Where it is to be registered.
        experiment_id: The experiment of the scorer.
        name: The scorer.
        serialized_scorer: The new version.
        may_use: Whether the caller may use the gateway endpoint of this name.
    """
    return _may_use_model(serialized_scorer, may_use) or not _is_online(store, experiment_id, name)


def _may_use_model(serialized_scorer: str, may_use: MayUse) -> bool:
    try:
        model = extract_model_from_serialized_scorer(json.loads(serialized_scorer))
    except (AttributeError, ValueError):
        # The handler says what is wrong with it.
        return True
    return not is_gateway_model(model) or may_use(extract_endpoint_ref(model))


def _is_online(store: AbstractStore, experiment_id: str, name: str) -> bool:
    try:
        scorer = store.get_scorer(experiment_id, name)
    except MlflowException as e:
        if e.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            return False
        raise
    configs = store.get_online_scoring_configs([scorer.scorer_id])
    return any(config.sample_rate > 0 for config in configs)
