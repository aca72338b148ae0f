"""Which batches have to be tried again, and with what care.

A job moves the checkpoint by succeeding (I5). So a look that begins where the job before it began
repeats a batch whose job gave no result: a scorer may have ended its process, or wasted its time.
The next job isolates scorers from each other, and so do those after it for a while, since what
ended one process is likely to end another; for longer each time that this was too short. Where
that does not help either, the batch was too much for one job, and is cut smaller each time; those
after it stay small, or a scorer that is only slow would let every other job run into its timeout,
and so be isolated for ever. All of this is in memory: a new leader tries as usual first.
"""

from collections.abc import Collection, Hashable
from dataclasses import dataclass

from mlflow.server.jobs.discovery.batches import Position

_ISOLATED_FOR_MS = 3_600_000
_LONGEST_ISOLATED_FOR_MS = 24 * _ISOLATED_FOR_MS
_SHRINK = 8
# There a batch has one entry.
_LARGEST_DIVISOR = _SHRINK**4


@dataclass(frozen=True)
class Care:
    """How to try.

    Attributes:
        isolate: Whether scorers are called in processes of their own.
        divisor: What the usual size of a batch is divided by.
    """

    isolate: bool = False
    divisor: int = 1


USUAL = Care()


@dataclass(frozen=True)
class _Tried:
    checkpoint: Position
    care: Care
    isolated_until_ms: int = 0
    isolated_for_ms: int = 0


class Repetitions:
    """What was tried last at each level of each experiment."""

    def __init__(self) -> None:
        self._tried: dict[Hashable, _Tried] = {}

    def care(self, key: Hashable, checkpoint: Position, now_ms: int) -> Care:
        """With what care to try what waits after this checkpoint."""
        tried = self._tried.get(key)
        if tried is None:
            return USUAL
        if tried.checkpoint != checkpoint:
            if now_ms >= tried.isolated_until_ms:
                return USUAL
            return Care(isolate=True, divisor=min(tried.care.divisor, _SHRINK))
        if not tried.care.isolate:
            return Care(isolate=True)
        return Care(isolate=True, divisor=min(tried.care.divisor * _SHRINK, _LARGEST_DIVISOR))

    def note(self, key: Hashable, checkpoint: Position, now_ms: int) -> None:
        """A job was created, with this care, for what waits after this checkpoint."""
        tried = self._tried.get(key) or _Tried(checkpoint, USUAL)
        until_ms, for_ms = tried.isolated_until_ms, tried.isolated_for_ms
        if key in self._tried and tried.checkpoint == checkpoint:
            if not tried.care.isolate:
                for_ms = min(max(_ISOLATED_FOR_MS, 2 * for_ms), _LONGEST_ISOLATED_FOR_MS)
            until_ms = now_ms + for_ms
        elif not tried.care.isolate:
            # What was tried as usual has a result.
            for_ms = 0
        care = self.care(key, checkpoint, now_ms)
        self._tried[key] = _Tried(checkpoint, care, until_ms, for_ms)

    def forget_all_but(self, keys: Collection[Hashable]) -> None:
        """Nothing is scored any more at the others."""
        self._tried = {key: tried for key, tried in self._tried.items() if key in keys}
