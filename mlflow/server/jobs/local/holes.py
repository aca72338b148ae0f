"""Leave no holes in memory that is about to be shared with the copies of this process.

Python's allocator gives out what is free on a page that is in use before it begins another one. A
forked process would have its first few thousand objects on as many pages of what it shares, each of
which is copied because of that. So all such places are taken before the fork, by objects that stay.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

# Of CPython: larger ones are the C library's, which has few holes.
_STEP_BYTES = 16
_MOST_BYTES = 512
# Objects of one size which mostly follow one another are on a page on which nothing else was.
_AT_A_TIME = 16
_IN_A_ROW = 12
_MOST_BLOCKS = 20_000

_stay: list[list[Any]] = []


def fill() -> None:
    """Take what is free between the objects of this process, some hundred KiB."""
    for size in range(_STEP_BYTES, _MOST_BYTES + 1, _STEP_BYTES):
        _stay.append(_fill(size, maker(size)))


def maker(size: int) -> Callable[[], Any]:
    """What makes an object of this size, in bytes, that no collection has to look at."""
    if size == _STEP_BYTES:
        return object
    if size == 2 * _STEP_BYTES:
        half = 0.5
        return lambda: half + half
    empty = b"".__sizeof__()
    return lambda: bytes(size - empty)


def _fill(size: int, make: Callable[[], Any]) -> list[Any]:
    blocks: list[Any] = []
    while len(blocks) < _MOST_BLOCKS:
        more = [make() for _ in range(_AT_A_TIME)]
        blocks += more
        if sum(id(after) - id(one) == size for one, after in pairwise(more)) >= _IN_A_ROW:
            break
    return blocks
