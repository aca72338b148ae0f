"""The boundary to executor plugins, which may raise anything: it becomes one error with a name."""

from collections.abc import Iterator
from contextlib import contextmanager


class BackendFailed(Exception):
    """A backend raised where it should have answered."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__)


@contextmanager
def backend_call() -> Iterator[None]:
    """Around one call of an executor.

    Raises:
        BackendFailed: The executor raised.
    """
    try:
        yield
    except Exception as e:
        raise BackendFailed(e) from e
