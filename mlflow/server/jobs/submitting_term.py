"""The leader's term for jobs that MLflow's own periodic tasks submit as anybody would. Keeps I6."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from mlflow.store.jobs.values import Term

_term: ContextVar[Term | None] = ContextVar("submitting_term", default=None)


@contextmanager
def submitting_under(term: Term) -> Iterator[None]:
    """Within, what this thread submits is stored only while the term lasts."""
    token = _term.set(term)
    try:
        yield
    finally:
        _term.reset(token)


def submitting_term() -> Term | None:
    """The term that the submission has to name; None for a user's."""
    return _term.get()
