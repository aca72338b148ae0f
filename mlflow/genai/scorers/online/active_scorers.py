"""Sort the active online scorers of an experiment into trace-level and session-level ones."""

from collections import defaultdict
from collections.abc import Callable, Iterable

from mlflow.genai.scorers.base import Scorer, SerializedScorer, _serialized_scorer_is_custom_code
from mlflow.genai.scorers.online.custom_scorers import custom_scorers_have_a_place_online
from mlflow.genai.scorers.online.entities import OnlineScorer
from mlflow.genai.scorers.online.readable_scorers import UNREADABLE
from mlflow.genai.scorers.scorer_utils import (
    _parse_serialized_scorer,
    custom_scorer_execution_blocked,
)


def group_by_experiment(online_scorers: Iterable[OnlineScorer]) -> dict[str, list[OnlineScorer]]:
    """The scorers of each experiment that has any."""
    groups = defaultdict(list)
    for online_scorer in online_scorers:
        groups[online_scorer.online_config.experiment_id].append(online_scorer)
    return dict(groups)


def split_by_level(
    online_scorers: Iterable[OnlineScorer], on_skipped: Callable[[OnlineScorer, str], None]
) -> tuple[list[OnlineScorer], list[OnlineScorer]]:
    """Tell trace-level from session-level scorers without running any scorer's code.

    Args:
        online_scorers: Scorers of one experiment.
        on_skipped: Called with a scorer that cannot run here, and why; the others go on without it.

    Returns:
        The trace-level scorers, and the session-level ones.
    """
    trace_level, session_level = [], []
    for online_scorer in online_scorers:
        try:
            is_session_level = _is_session_level(online_scorer.serialized_scorer)
        except UNREADABLE as error:
            on_skipped(online_scorer, f"it cannot be loaded: {error}")
            continue
        if reason := reason_not_to_run(online_scorer):
            on_skipped(online_scorer, reason)
            continue
        (session_level if is_session_level else trace_level).append(online_scorer)
    return trace_level, session_level


def reason_not_to_run(online_scorer: OnlineScorer) -> str | None:
    """Why online scoring on this server must leave a custom scorer alone, or None.

    Raises:
        MlflowException: The scorer's stored form is not JSON.
    """
    serialized = _parse_serialized_scorer(online_scorer.serialized_scorer)
    if not _serialized_scorer_is_custom_code(serialized):
        return None
    if custom_scorer_execution_blocked(serialized):
        return "custom scorers are disabled (MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS enables them)"
    if not custom_scorers_have_a_place_online():
        return (
            "MLFLOW_JOB_CUSTOM_SCORER_EXECUTOR_BACKEND names a backend that online scoring "
            "cannot use for custom scorers"
        )
    return None


def _is_session_level(serialized_scorer: str) -> bool:
    data = _parse_serialized_scorer(serialized_scorer)
    serialized = SerializedScorer.from_dict(data)
    if _serialized_scorer_is_custom_code(data):
        return bool(serialized.is_session_level_scorer)
    return Scorer.model_validate(data).is_session_level_scorer
