"""Let whoever started an evaluation see how far it is, where there is no terminal with a bar.

Evaluations run in users' own processes as well, so nothing of the server is imported here.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

OnProgress = Callable[[str, int, int], None]

_watcher: ContextVar[OnProgress | None] = ContextVar("evaluation_watcher", default=None)


@contextmanager
def evaluations_watched_by(on_progress: OnProgress) -> Iterator[None]:
    """Tell of evaluations that this context runs.

    Args:
        on_progress: Called with "traces" or "sessions", how many of them are done, and how many
            there are. All traces come before the first session.
    """
    token = _watcher.set(on_progress)
    try:
        yield
    finally:
        _watcher.reset(token)


def watched_bar(bar: Any, traces: int, steps: int) -> Any:
    """The progress bar of an evaluation, seen by its watcher too; itself if nobody watches.

    Args:
        bar: What `tqdm` made; None where it is not installed.
        traces: How many traces are evaluated.
        steps: How many traces and, after them, sessions.
    """
    watcher = _watcher.get()
    return bar if watcher is None else _WatchedBar(bar, traces, steps, watcher)


class _WatchedBar:
    """What the harness asks of a progress bar, passed on if there is one."""

    def __init__(self, bar: Any, traces: int, steps: int, watcher: OnProgress) -> None:
        self.bar_format = ""
        self._bar = bar
        self._traces = traces
        self._sessions = steps - traces
        self._watcher = watcher
        self._done = 0
        self._tell()

    def update(self, count: int) -> None:
        self._done += count
        self._tell()
        if self._bar is not None:
            self._bar.update(count)

    def refresh(self) -> None:
        if self._bar is not None:
            self._bar.bar_format = self.bar_format
            self._bar.refresh()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _tell(self) -> None:
        sessions = self._done - self._traces
        if sessions <= 0:
            self._watcher("traces", self._done, self._traces)
        if sessions >= 0 and self._sessions:
            self._watcher("sessions", sessions, self._sessions)
