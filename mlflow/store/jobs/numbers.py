"""Which numbers a row takes, and which its columns can be compared with, on every database."""

import math
from typing import Any

from mlflow.store.jobs.errors import InvalidJobField

# Its 115% in milliseconds are still far below what a bigint holds.
LONGEST_SECONDS = 1.0e11
_MOST_ROWS = 2**31 - 1


def storable_timeout(timeout: Any) -> float | None:
    """A timeout that the lock rule can reckon with, or None for no limit.

    Raises:
        InvalidJobField: Not a number, not finite, not positive, or too long.
    """
    if timeout is None:
        return None
    is_number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    # Compared before it becomes a float, which a very long integer cannot.
    if not is_number or not 0 < timeout <= LONGEST_SECONDS:
        raise InvalidJobField(
            "timeout", f"has to be a number of seconds above 0 and at most {LONGEST_SECONDS:.0f}"
        )
    return float(timeout)


def comparable(field: str, value: int | None) -> int | None:
    """An instant or a duration in milliseconds that a bigint column can be compared with.

    Raises:
        InvalidJobField: Not a whole number, or beyond a bigint even with the time of day added.
    """
    if value is None:
        return None
    if not _is_whole(value) or not -(2**62) < value < 2**62:
        raise InvalidJobField(field, "is not a whole number that a database can compare with")
    return int(value)


def row_limit(field: str, value: int) -> int:
    """How many rows are asked for.

    Raises:
        InvalidJobField: Not a whole number, below 1, or more than any database counts.
    """
    if not _is_whole(value) or value < 1:
        raise InvalidJobField(field, "has to be at least 1")
    if value >= _MOST_ROWS:
        raise InvalidJobField(field, f"has to be less than {_MOST_ROWS}")
    return int(value)


def _is_whole(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value) and value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)
