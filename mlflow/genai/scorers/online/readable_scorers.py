"""Leave out what is stored of a scorer and cannot be read, before anything else is asked of it.

A registration checks little, and nothing checks a later version of a scorer that is switched on.
"""

import logging
from functools import lru_cache

from mlflow.exceptions import MlflowException
from mlflow.genai.scorers.base import SerializedScorer
from mlflow.genai.scorers.scorer_utils import (
    _parse_serialized_scorer,
    extract_model_from_serialized_scorer,
)

_logger = logging.getLogger(__name__)

# What is stored may be malformed in any way, and each kind of scorer checks it in its own.
UNREADABLE = (
    MlflowException,
    AttributeError,
    KeyError,
    RecursionError,
    TypeError,
    ValueError,
)


def is_readable(experiment_id: int, name: str, serialized_scorer: str) -> bool:
    """Whether the stored form of a scorer has the shape of one; if not, it is warned of once."""
    try:
        data = _parse_serialized_scorer(serialized_scorer)
        extract_model_from_serialized_scorer(data)
        SerializedScorer.from_dict(data)
    except UNREADABLE as error:
        _warn_once(experiment_id, name, str(error))
        return False
    return True


@lru_cache(maxsize=1_000)
def _warn_once(experiment_id: int, name: str, reason: str) -> None:
    _logger.warning(
        "Online scoring skips scorer %r of experiment %s, which cannot be read: %s",
        name,
        experiment_id,
        reason,
    )
