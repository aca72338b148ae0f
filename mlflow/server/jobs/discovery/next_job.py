"""The params of the next job of one level of one experiment: a batch, and the next checkpoint.

A job costs a process, so an empty batch gets none as long as looking again is cheap: the window
begins at the checkpoint every time, sampling is deterministic, and a group takes a bounded number
of looks. It gets one when a group has reached that bound (or those looks would be repeated for
ever), and when traces that nothing wants have piled up for some hours.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.genai.scorers.online import OnlineScorer, OnlineScorerSampler
from mlflow.genai.scorers.online.constants import MAX_LOOKBACK_MS
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, ErrorCode
from mlflow.server.jobs.discovery.batches import Candidate, FilterGroup, Position, cut_batch
from mlflow.server.jobs.discovery.checkpoints import value_of
from mlflow.server.jobs.discovery.levels import Level
from mlflow.server.jobs.discovery.waiting_traces import waiting_traces
from mlflow.store.tracking.abstract_store import AbstractStore

_LOOKS_PER_ENTRY = 4
# A first checkpoint lies one such time back already.
_PILED_UP_MS = 2 * MAX_LOOKBACK_MS


@dataclass(frozen=True)
class NextJob:
    """What a look has found.

    Attributes:
        params: The job's params.
        since_ms: Since when the oldest of it has waited.
    """

    params: dict[str, Any]
    since_ms: int


def next_job(
    store: AbstractStore,
    level: Level,
    experiment_id: str,
    online_scorers: list[OnlineScorer],
    checkpoint: Position,
    window_end_ms: int,
    on_bad_filter: Callable[[str | None, str], None],
    max_entries: int | None = None,
    max_looks: int | None = None,
) -> NextJob | None:
    """Look at what waits, and answer a job for it, or None if nothing is worth one.

    Args:
        store: The tracking store.
        level: Traces or sessions.
        experiment_id: The experiment.
        online_scorers: Its scorers of this level.
        checkpoint: Where to begin.
        window_end_ms: Where to end, exclusive.
        on_bad_filter: Called with a filter that the store refuses, and why; the scorers of other
            filters go on without those of this one.
        max_entries: Most entries of the batch; None stands for the level's own.
        max_looks: Most looks of the scorers of one filter; None stands for some times as many.
    """
    if checkpoint.timestamp_ms >= window_end_ms:
        return None
    max_entries = max_entries or level.max_entries
    batch = cut_batch(
        _filter_groups(
            store, level, experiment_id, online_scorers, checkpoint, window_end_ms, on_bad_filter
        ),
        window_end_ms,
        max_entries,
        max_looks or _LOOKS_PER_ENTRY * max_entries,
    )
    if not (
        batch.entries
        or batch.full
        or _unwanted_piled_up(store, experiment_id, checkpoint, window_end_ms)
    ):
        return None
    params = {
        **common_params(experiment_id, online_scorers),
        "batch": batch.entries,
        "next_checkpoint": {
            "experiment_id": experiment_id,
            "tag": level.tag,
            "value": value_of(batch.reaches, level.id_key),
        },
        "full": batch.full,
    }
    return NextJob(params, since_ms=batch.begins.timestamp_ms)


def common_params(experiment_id: str, online_scorers: list[OnlineScorer]) -> dict[str, Any]:
    """What the params of a job say before there is a batch."""
    return {
        "experiment_id": experiment_id,
        "online_scorers": [asdict(online_scorer) for online_scorer in online_scorers],
    }


def _filter_groups(
    store: AbstractStore,
    level: Level,
    experiment_id: str,
    online_scorers: list[OnlineScorer],
    checkpoint: Position,
    window_end_ms: int,
    on_bad_filter: Callable[[str | None, str], None],
) -> Iterator[FilterGroup]:
    # The code of custom scorers is no matter of the leader's: they are sampled by name.
    sampler = OnlineScorerSampler(online_scorers, run_custom_scorers_on_host=False)
    groups = sampler.group_scorers_by_filter(session_level=level.is_session_level)
    for filter_string, scorers in groups.items():
        waiting = level.waiting(store, experiment_id, checkpoint, window_end_ms, filter_string)
        yield FilterGroup(
            waiting=_unless_refused(
                waiting, lambda reason, refused=filter_string: on_bad_filter(refused, reason)
            ),
            sample=lambda entity_id, scorers=scorers: [
                scorer.name for scorer in sampler.sample(entity_id, scorers)
            ],
        )


def _unless_refused(
    waiting: Iterator[Candidate], on_refused: Callable[[str], None]
) -> Iterator[Candidate]:
    try:
        yield from waiting
    except MlflowException as error:
        # Anything else may be over soon, and then a group that was left out would have lost traces.
        if error.error_code != ErrorCode.Name(INVALID_PARAMETER_VALUE):
            raise
        on_refused(error.message)


def _unwanted_piled_up(
    store: AbstractStore, experiment_id: str, checkpoint: Position, window_end_ms: int
) -> bool:
    if window_end_ms - checkpoint.timestamp_ms < _PILED_UP_MS:
        return False
    unfiltered = waiting_traces(store, experiment_id, checkpoint, window_end_ms, page_size=1)
    return next(unfiltered, None) is not None
