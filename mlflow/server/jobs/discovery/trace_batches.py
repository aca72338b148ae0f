"""Cut a bounded batch out of the traces that wait for scoring; pure.

Traces are ordered by position: start time, then id. Scorers that share a filter look at the same
traces and form a group. A group that stops looking before the window ends has a frontier, the last
position that it looked at. A batch reaches up to the least advanced frontier and the next begins
there, so that a checkpoint never passes a trace that some group has not looked at.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Position(NamedTuple):
    """Where a trace stands, or, with an empty id, the gap before all traces of that millisecond.

    Ids are compared as Python compares text, which for MLflow's ids is the order of every database.
    """

    timestamp_ms: int
    trace_id: str = ""


@dataclass(frozen=True)
class FilterGroup:
    """Scorers that share a filter.

    Attributes:
        waiting: Positions after the checkpoint of the traces that pass the filter, in order. Read
            lazily, and no further than needed.
        sample: The names of the scorers that a trace of this id is for.
    """

    waiting: Iterable[Position]
    sample: Callable[[str], list[str]]


@dataclass(frozen=True)
class TraceBatch:
    """What one job is to score, and what it thereby settles.

    Attributes:
        scorers_of: Trace id to scorer names, oldest trace first.
        looked_at: Number of looks that groups took at traces.
        reaches: The next checkpoint: every trace up to here was looked at by every group.
        full: True if traces may be waiting beyond `reaches`.
    """

    scorers_of: dict[str, list[str]]
    looked_at: int
    reaches: Position
    full: bool


def cut_batch(
    groups: Iterable[FilterGroup], window_end_ms: int, max_traces: int, max_looks: int
) -> TraceBatch:
    """Cut the oldest traces that are due.

    Args:
        groups: The filter groups, all looking at the same window.
        window_end_ms: End of the window, exclusive.
        max_traces: Most traces in the batch.
        max_looks: Most traces that one group looks at, sampled or not.
    """
    looks = [_look(group, max_traces, max_looks) for group in groups]
    window_end = Position(window_end_ms)
    reaches = min((look.frontier for look in looks if look.frontier), default=window_end)

    names_at = defaultdict(dict)
    for look in looks:
        for position, names in look.sampled.items():
            if position <= reaches:
                names_at[position] |= dict.fromkeys(names)
    due = sorted(names_at)
    if len(due) > max_traces:
        reaches = due[max_traces - 1]
    return TraceBatch(
        scorers_of={position.trace_id: list(names_at[position]) for position in due[:max_traces]},
        looked_at=sum(look.count for look in looks),
        reaches=reaches,
        full=reaches < window_end,
    )


@dataclass(frozen=True)
class _Look:
    sampled: dict[Position, list[str]]
    count: int
    frontier: Position | None


def _look(group: FilterGroup, max_traces: int, max_looks: int) -> _Look:
    sampled = {}
    count = 0
    for position in group.waiting:
        count += 1
        if names := group.sample(position.trace_id):
            sampled[position] = names
        if count == max_looks or len(sampled) == max_traces:
            return _Look(sampled, count, frontier=position)
    return _Look(sampled, count, frontier=None)
