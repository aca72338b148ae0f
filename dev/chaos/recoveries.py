"""How long it took to recover the jobs of runners that were taken, and what of: from the history.

From the moment at which a runner was taken, a job of its passes through

    marked as stale (T9), or left by its own runner (T10)
    free: claimable again (T12), or ended
    claimed again (T2)
    at work again: the first effect of the attempt

Each instant is the database's or, for the last one, the host's uptime put on the same scale.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from dev.chaos.effects import Effect, wall_ms
from dev.chaos.history import Change, Leading
from dev.chaos.outages import Outages

T = TypeVar("T")

PENDING, RUNNING, NEEDS_RECOVERY = 0, 1, 6
_NOT_FREE = (RUNNING, NEEDS_RECOVERY)

BY_ITSELF = "killed by its job or watchdog"
_TAKES_A_RUNNER = {
    "kill-runner",
    "kill-replica",
    "pause-runner",
    "pause-replica",
    "hang",
    "hang-then-reset",
}


@dataclass(frozen=True)
class Recovery:
    """One job that was under way on a runner when that was taken.

    Attributes:
        way: What took the runner.
        led: Whether the runner was the leader, so that there was another to be found first.
        marked_ms: From then until nobody owned the row any more; None where that was its end.
        free_ms: From then until the job was claimable, or had ended.
        claimed_ms: From then until it was claimed again; None if it was not.
        at_work_ms: From then until it was at work again; None if that was not seen.
        hindered: Whether there was nobody who could recover it, or no database, for a while.
    """

    way: str
    led: bool
    marked_ms: int | None
    free_ms: int
    claimed_ms: int | None
    at_work_ms: int | None
    hindered: bool = False


def recoveries(
    history: Mapping[str, list[Change]],
    leaders: Iterable[Leading],
    done: Mapping[str, list[Effect]],
) -> Iterator[Recovery]:
    """All of them.

    Args:
        history: What was done to each job, oldest first.
        leaders: Who began to lead, oldest first.
        done: The effects `by_job`.
    """
    leaders = [*leaders]
    outages = Outages(done[""])
    for pid, (way, at_ms) in _taken(done[""]).items():
        for job, changes in history.items():
            after = _after_the_loss(changes, pid, at_ms)
            until_free = _through(after, lambda each: each.status not in _NOT_FREE)
            if not until_free:
                continue
            free = until_free[-1]
            marked = _first(until_free, lambda each: each.status == NEEDS_RECOVERY)
            claimed = _first(after, lambda each: each.fence > each.old_fence)
            started = claimed and _start(done[job], claimed.fence)
            yield Recovery(
                way,
                _leads(pid, at_ms, leaders),
                marked and marked.at_ms - at_ms,
                free.at_ms - at_ms,
                claimed and claimed.at_ms - at_ms,
                started and wall_ms(started, done[""]) - at_ms,
                outages.touch(at_ms, free.at_ms),
            )


def _after_the_loss(changes: list[Change], pid: int, at_ms: int) -> list[Change]:
    """What became of a job that was under way on this runner at that time; else nothing."""
    before = [change for change in changes if change.at_ms <= at_ms]
    if not before or before[-1].status != RUNNING or before[-1].runner != pid:
        return []
    return changes[len(before) :]


def _start(done: list[Effect], fence: int) -> Effect | None:
    # The first attempt may have been lost before it told anything.
    return _first(done, lambda each: each["what"] == "started" and each["fence"] >= fence)


def _taken(told: list[Effect]) -> dict[int, tuple[str, int]]:
    taken: dict[int, tuple[str, int]] = {}
    for each in told:
        if each["what"] == "fault" and each["kind"] in _TAKES_A_RUNNER:
            taken.setdefault(each["pids"][0], (each["kind"], each["ms"]))
        elif each["what"] == "ended runner" and each["code"] != 0:
            taken.setdefault(each["pid"], (BY_ITSELF, each["ms"]))
    return taken


def _leads(pid: int, at_ms: int, leaders: list[Leading]) -> bool:
    before = [each for each in leaders if each.at_ms <= at_ms]
    return bool(before) and before[-1].runner == pid


def _first(items: Iterable[T], holds: Callable[[T], bool]) -> T | None:
    return next((each for each in items if holds(each)), None)


def _through(items: list[T], holds: Callable[[T], bool]) -> list[T]:
    """All up to the first of which it holds, that one included; nothing where it holds of none."""
    for number, each in enumerate(items):
        if holds(each):
            return items[: number + 1]
    return []
