"""Report how far the prompt optimization of a job is."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from mlflow.genai.job_progress import count_aloud
from mlflow.genai.optimize.optimizers import BasePromptOptimizer, GepaPromptOptimizer
from mlflow.genai.optimize.progress import evaluations_counted_by

_PHASE = "optimizing prompts"


@contextmanager
def reporting_optimization(
    optimizer: BasePromptOptimizer, dataset: Any, scorers: list[Any]
) -> Iterator[None]:
    """Report the evaluations done of those expected; without any, whether the prompt is done.

    Args:
        optimizer: Which bounds its evaluations or passes over the dataset.
        dataset: The evaluation dataset; None if the prompt is improved without examples.
        scorers: Without them the improved prompt is not evaluated.
    """
    rows = 0 if dataset is None else len(dataset.to_df())
    if rows == 0:
        tell_prompts = count_aloud(_PHASE, "prompts", "Optimized")
        tell_prompts(0, 1)
        yield
        tell_prompts(1, 1)
        return
    if isinstance(optimizer, GepaPromptOptimizer):
        expected = optimizer.max_metric_calls
    else:
        expected = 2 * rows if scorers else rows
    with evaluations_counted_by(_counter(expected)):
        yield


def _counter(expected: int) -> Callable[[], None]:
    tell_evaluations = count_aloud(_PHASE, "evaluations", "Ran")
    counting, numbers = threading.Lock(), count(1)
    tell_evaluations(0, expected)

    def one_more() -> None:
        with counting:
            done = next(numbers)
            # An optimizer may go on to the end of a round.
            tell_evaluations(done, max(done, expected))

    return one_more
