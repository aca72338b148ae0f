"""Report how far the scoring of traces or sessions is."""

from collections.abc import Callable

from mlflow.genai.job_progress import count_aloud


def progress_of(unit: str) -> Callable[[int, int], None]:
    """A callback for the number done and the number to do.

    Args:
        unit: What is counted, in the plural.
    """
    return count_aloud(f"scoring {unit}", unit, "Scored")
