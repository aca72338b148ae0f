"""The params of the next job of one level of one experiment: a batch, and the next checkpoint.

A job costs a process, so an empty batch gets none as long as looking again is cheap: the window
begins at the checkpoint every time, sampling is deterministic, and a group takes a bounded number
of looks. It gets one when a group has reached that bound (or those looks would be repeated for
ever), and when traces that nothing wants have piled up for some hours.

A look ends at the newest trace that was seen, even where the window does not: traces of a client
whose clock is behind, or that take longer than the completion buffer, stand at a time that is long
past when they are written, and the checkpoint has no reason to be there before them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.genai.scorers.online import OnlineScorer, OnlineScorerSampler
from mlflow.genai.scorers.online.constants import MAX_LOOKBACK_MS
from mlflow.server.jobs.discovery.batches import Candidate, FilterGroup, Position, cut_batch
from mlflow.server.jobs.discovery.checkpoints import value_of
from mlflow.server.jobs.discovery.filter_faults import is_at_fault
from mlflow.server.jobs.discovery.levels import Level
from mlflow.server.jobs.discovery.repetitions import USUAL, Care
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
    newest_ms: int | None,
    on_bad_filter: Callable[[str | None, str], None],
    unfiltered: Iterable[Candidate] | None = None,
    max_entries: int | None = None,
    max_looks: int | None = None,
    care: Care = USUAL,
) -> NextJob | None:
    """Look at what waits, and answer a job for it, or None if nothing is worth one.

    Args:
        store: The tracking store.
        level: Traces or sessions.
        experiment_id: The experiment.
        online_scorers: Its scorers of this level.
        checkpoint: Where to begin.
        window_end_ms: Where to end, exclusive.
        newest_ms: When the newest trace came that was seen before the end; None if none was.
        on_bad_filter: Called with a filter that the store refuses, and why; the scorers of other
            filters go on without those of this one.
        unfiltered: What waits where no filter narrows it, if that is known already.
        max_entries: Most entries of the batch; None stands for the level's own.
        max_looks: Most looks of the scorers of one filter; None stands for some times as many.
        care: What an earlier job for the same batch has taught.
    """
    end_ms = window_end_ms if newest_ms is None else min(window_end_ms, newest_ms + 1)
    if checkpoint.timestamp_ms >= end_ms:
        return None
    max_entries = max(1, (max_entries or level.max_entries) // care.divisor)
    batch = cut_batch(
        _filter_groups(
            online_scorers,
            level,
            _waiting(
                store,
                level,
                experiment_id,
                checkpoint,
                end_ms,
                unfiltered,
                on_bad_filter,
            ),
        ),
        end_ms,
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
    if care.isolate:
        params["isolate"] = True
    return NextJob(params, since_ms=batch.begins.timestamp_ms)


def common_params(experiment_id: str, online_scorers: list[OnlineScorer]) -> dict[str, Any]:
    """What the params of a job say before there is a batch."""
    return {
        "experiment_id": experiment_id,
        "online_scorers": [asdict(online_scorer) for online_scorer in online_scorers],
    }


def _waiting(
    store: AbstractStore,
    level: Level,
    experiment_id: str,
    checkpoint: Position,
    window_end_ms: int,
    unfiltered: Iterable[Candidate] | None,
    on_bad_filter: Callable[[str | None, str], None],
) -> Callable[[str | None], Iterator[Candidate]]:
    def waiting(filter_string: str | None) -> Iterator[Candidate]:
        if filter_string is None and unfiltered is not None:
            yield from unfiltered
            return
        try:
            yield from level.waiting(store, experiment_id, checkpoint, window_end_ms, filter_string)
        except MlflowException as error:
            # Anything else may be over soon; a group that was left out would have lost traces.
            if filter_string is None or not is_at_fault(error, answers_without_filter):
                raise
            # The statement and its values follow in further lines, other ones each time.
            on_bad_filter(filter_string, error.message.partition("\n")[0])

    def answers_without_filter() -> None:
        next(_any_trace(store, experiment_id, checkpoint, window_end_ms), None)

    return waiting


def _filter_groups(
    online_scorers: list[OnlineScorer],
    level: Level,
    waiting: Callable[[str | None], Iterator[Candidate]],
) -> Iterator[FilterGroup]:
    # The code of custom scorers is no matter of the leader's: they are sampled by name.
    sampler = OnlineScorerSampler(online_scorers, run_custom_scorers_on_host=False)
    groups = sampler.group_scorers_by_filter(session_level=level.is_session_level)
    for filter_string, scorers in groups.items():
        yield FilterGroup(
            waiting=waiting(filter_string),
            sample=lambda entity_id, scorers=scorers: [
                scorer.name for scorer in sampler.sample(entity_id, scorers)
            ],
        )


def _unwanted_piled_up(
    store: AbstractStore, experiment_id: str, checkpoint: Position, window_end_ms: int
) -> bool:
    if window_end_ms - checkpoint.timestamp_ms < _PILED_UP_MS:
        return False
    return next(_any_trace(store, experiment_id, checkpoint, window_end_ms), None) is not None


def _any_trace(
    store: AbstractStore, experiment_id: str, checkpoint: Position, window_end_ms: int
) -> Iterator[Position]:
    return waiting_traces(store, experiment_id, checkpoint, window_end_ms, page_size=1)
