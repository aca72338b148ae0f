"""The effect log: what each process did outside the database, one JSON line per effect.

A file belongs to one process and is only appended to, by one write per line, so that a kill at any
moment costs at most the last line. Times are of the host's monotonic clock, which all share.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class EffectLog:
    """The file of this process."""

    def __init__(self, folder: Path):
        path = folder / f"{os.getpid()}-{time.monotonic_ns()}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, what: str, at: int | None = None, **facts: Any) -> None:
        """Append an effect; `at` is in monotonic nanoseconds, and now unless given."""
        effect = {"at": time.monotonic_ns() if at is None else at, "what": what, **facts}
        os.write(self._file, json.dumps(effect).encode() + b"\n")


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """All effects of all processes, each with the name of its file as `by`, in no order."""
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                yield {"by": path.stem, **json.loads(line)}
