"""Report how far the evaluation of a job is."""

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.genai.evaluation.progress import evaluations_watched_by
from mlflow.genai.job_progress import count_aloud


@contextmanager
def reporting_evaluation() -> Iterator[None]:
    """Report how many traces, and then how many sessions, are evaluated."""
    counts = {
        unit: count_aloud(f"evaluating {unit}", unit, "Evaluated")
        for unit in ("traces", "sessions")
    }
    with evaluations_watched_by(lambda unit, done, total: counts[unit](done, total)):
        yield
