"""The effect log: what each process did outside the database, one JSON line per effect.

A file belongs to one process and is only appended to, by one write per line, so that a kill at any
moment costs at most the last line. Times are of the host's monotonic clock, which all share.
"""

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Effect = dict[str, Any]

_CALIBRATIONS = 20


class EffectLog:
    """The file of this process."""

    def __init__(self, folder: Path):
        path = folder / f"{os.getpid()}-{time.monotonic_ns()}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def calibrate(self) -> None:
        """Tell which wall-clock time in ms this instant is, to within what a busy host allows."""
        looks = []
        for _ in range(_CALIBRATIONS):
            before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
            looks.append((after - before, (before + after) // 2, wall // 1_000_000))
        _, at, wall_ms = min(looks)
        self.write("calibrated", at, ms=wall_ms)

    def write(self, what: str, at: int | None = None, **facts: Any) -> None:
        """Append an effect; `at` is in monotonic nanoseconds, and now unless given."""
        effect = {"at": time.monotonic_ns() if at is None else at, "what": what, **facts}
        os.write(self._file, json.dumps(effect).encode() + b"\n")


def read(folder: Path) -> Iterator[Effect]:
    """All effects of all processes, each with the name of its file as `by`, in no order."""
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                yield {"by": path.stem, **json.loads(line)}


def by_job(log: Iterable[Effect]) -> dict[str, list[Effect]]:
    """The effects of each job, oldest first; under the empty name those of no job."""
    done: dict[str, list[Effect]] = defaultdict(list)
    for effect in sorted(log, key=lambda each: each["at"]):
        done[effect.get("job", "")].append(effect)
    return done


def wall_ms(effect: Effect, told: Iterable[Effect]) -> int:
    """When it was by the wall clock, in epoch ms.

    Args:
        effect: Any effect.
        told: The effects of no job, one of which tells the time.
    """
    offset_ms = next(
        (each["ms"] - each["at"] // 1_000_000 for each in told if each["what"] == "calibrated"), 0
    )
    return effect["at"] // 1_000_000 + offset_ms
