"""Which batches have to be tried again, and with what care.

A job moves the checkpoint by succeeding (I5). So a look that begins where the job before it began
repeats a batch whose job gave no result: a scorer may have ended its process, or wasted its time.
The next job isolates scorers from each other, and so do those after it for a while, since what
ended one process is likely to end another. Where that does not help either, the batch was too much
for one job, and is cut smaller each time. All of this is in memory: a new leader tries as usual
first.
"""

from collections.abc import Collection, Hashable
from dataclasses import dataclass

from mlflow.server.jobs.discovery.batches import Position

_ISOLATED_FOR_MS = 3_600_000
_SHRINK = 8
# From there on a batch has one entry.
_MOST_SHRINKS = 4


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


@dataclass
class _Tried:
    checkpoint: Position
    times: int
    isolated_until_ms: int


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
            return Care(isolate=now_ms < tried.isolated_until_ms)
        return Care(isolate=True, divisor=_SHRINK ** min(tried.times - 1, _MOST_SHRINKS))

    def note(self, key: Hashable, checkpoint: Position, now_ms: int) -> None:
        """A job was created for what waits after this checkpoint."""
        tried = self._tried.get(key)
        if tried is None:
            self._tried[key] = _Tried(checkpoint, 1, 0)
        elif tried.checkpoint != checkpoint:
            self._tried[key] = _Tried(checkpoint, 1, tried.isolated_until_ms)
        else:
            tried.times += 1
            tried.isolated_until_ms = now_ms + _ISOLATED_FOR_MS

    def forget_all_but(self, keys: Collection[Hashable]) -> None:
        """Nothing is scored any more at the others."""
        self._tried = {key: tried for key, tried in self._tried.items() if key in keys}
