"""The boundary to executor plugins, which may raise anything: it becomes one error with a name."""

from contextlib import AbstractContextManager


class BackendFailed(Exception):
    """A backend raised where it should have answered."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__)


class _Boundary:
    """Has no state, so that one serves all calls."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, raised: BaseException | None, trace: object) -> None:
        if isinstance(raised, Exception):
            raise BackendFailed(raised) from raised


_BOUNDARY = _Boundary()


def backend_call() -> AbstractContextManager[None]:
    """Around one call of an executor.

    Raises:
        BackendFailed: The executor raised.
    """
    return _BOUNDARY
