"""Let whoever started a prompt optimization see each candidate's evaluation of a row end.

Optimizations run in users' own processes as well, so nothing of the server is imported here.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_counter: ContextVar[Callable[[], None] | None] = ContextVar("evaluation_counter", default=None)


@contextmanager
def evaluations_counted_by(on_evaluated: Callable[[], None]) -> Iterator[None]:
    """Tell of evaluations in optimizations that this context runs.

    Args:
        on_evaluated: Called after each, on any thread.
    """
    token = _counter.set(on_evaluated)
    try:
        yield
    finally:
        _counter.reset(token)


def counted(evaluate: Callable[P, R]) -> Callable[P, R]:
    """The same, counted by whoever counts in this context; itself if nobody does."""
    on_evaluated = _counter.get()
    if on_evaluated is None:
        return evaluate

    def evaluate_and_tell(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return evaluate(*args, **kwargs)
        finally:
            on_evaluated()

    return evaluate_and_tell
