"""Cut a bounded batch out of what waits for scoring; pure.

What waits, traces or sessions, is ordered by position: a time, then an id. Scorers that share a
filter look at the same ones and form a group. A group that stops looking before the window ends has
a frontier, the last position that it looked at. A batch reaches up to the least advanced frontier
and the next begins there, so that a checkpoint never passes what some group has not looked at.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple


class Position(NamedTuple):
    """Where a trace or a session stands, or, with an empty id, the gap before its millisecond.

    Ids are compared as Python compares text, whatever order a database gives them.
    """

    timestamp_ms: int
    entity_id: str = ""


@dataclass(frozen=True)
class Candidate:
    """What may have to be scored, and how a batch names it."""

    position: Position
    name: dict[str, Any]


@dataclass(frozen=True)
class FilterGroup:
    """Scorers that share a filter.

    Attributes:
        waiting: What stands after the checkpoint and passes the filter, in order. Read lazily, and
            no further than needed.
        sample: The names of the scorers that a trace or session of this id is for.
    """

    waiting: Iterable[Candidate]
    sample: Callable[[str], list[str]]


@dataclass(frozen=True)
class Batch:
    """What one job is to score, and what it thereby settles.

    Attributes:
        entries: For each trace or session its name and the names of its scorers, oldest first.
        begins: The position of its first entry; without one, `reaches`.
        reaches: The next checkpoint: everything up to here was looked at by every group.
        full: True if more may be waiting beyond `reaches`.
    """

    entries: list[dict[str, Any]]
    begins: Position
    reaches: Position
    full: bool


def cut_batch(
    groups: Iterable[FilterGroup], window_end_ms: int, max_entries: int, max_looks: int
) -> Batch:
    """Cut the oldest of what is due.

    Args:
        groups: The filter groups, all looking at the same window.
        window_end_ms: End of the window, exclusive.
        max_entries: Most entries of the batch.
        max_looks: Most looks that one group takes, sampled or not.
    """
    looks = [_look(group, max_entries, max_looks) for group in groups]
    window_end = Position(window_end_ms)
    # What is known ahead of a look may stand beyond its window, where no other group has looked.
    reaches = min([window_end, *(look.frontier for look in looks if look.frontier)])

    due: dict[Position, dict[str, Any]] = {}
    for look in looks:
        for candidate, names in look.sampled:
            if candidate.position <= reaches:
                entry = due.setdefault(candidate.position, {**candidate.name, "scorers": []})
                entry["scorers"] += [name for name in names if name not in entry["scorers"]]
    oldest_first = sorted(due)
    if len(oldest_first) > max_entries:
        reaches = oldest_first[max_entries - 1]
    return Batch(
        entries=[due[position] for position in oldest_first[:max_entries]],
        begins=oldest_first[0] if oldest_first else reaches,
        reaches=reaches,
        full=reaches < window_end,
    )


@dataclass(frozen=True)
class _Look:
    sampled: list[tuple[Candidate, list[str]]]
    frontier: Position | None


def _look(group: FilterGroup, max_entries: int, max_looks: int) -> _Look:
    sampled = []
    for count, candidate in enumerate(group.waiting, start=1):
        if names := group.sample(candidate.position.entity_id):
            sampled.append((candidate, names))
        if count == max_looks or len(sampled) == max_entries:
            return _Look(sampled, frontier=candidate.position)
    return _Look(sampled, frontier=None)
