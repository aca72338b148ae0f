"""Report where an issue detection is: its stage, and how many traces or sessions it has judged.

The pages show the stage from the status details, where it was before there was progress; it is the
phase of the progress as well.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from mlflow.entities._job import JobProgress
from mlflow.genai.evaluation.progress import evaluations_watched_by
from mlflow.genai.job_progress import count_aloud, tell
from mlflow.server.jobs.progress import update_status_details


class _Detection:
    def __init__(self) -> None:
        self._phase: str | None = None
        self._judged: tuple[int | None, int | None, str | None] = (None, None, None)
        self._counts: dict[str, Any] = {}

    def enter(self, stage: str) -> None:
        self._phase = stage.rstrip(".")
        tell(self._phase, JobProgress(self._phase, *self._judged))

    def note_judged(self, unit: str, done: int, total: int) -> None:
        self._judged = (done, total, unit)
        if unit not in self._counts:
            self._counts[unit] = count_aloud(self._phase, unit, f"{self._phase}:")
        self._counts[unit](done, total)


_detection: ContextVar[_Detection | None] = ContextVar("detection", default=None)


@contextmanager
def reporting_detection() -> Iterator[None]:
    """Report the progress of the issue detection that this context runs."""
    detection = _Detection()
    token = _detection.set(detection)
    try:
        with evaluations_watched_by(detection.note_judged):
            yield
    finally:
        _detection.reset(token)


def enter_stage(status_details: dict[str, Any]) -> None:
    """Say which stage a detection is at.

    Args:
        status_details: Its `stage`, a sentence for the user.
    """
    update_status_details(status_details)
    if detection := _detection.get():
        detection.enter(status_details["stage"])
