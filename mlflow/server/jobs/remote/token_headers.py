"""Read a header that counts only when it was sent once."""

from collections.abc import Sequence


def only_value(values: Sequence[str]) -> str | None:
    """The value of a header that was sent once; None if it was sent never, or more than once."""
    # A WSGI server joins the values of a repeated header with commas.
    if len(values) != 1 or not values[0].strip() or "," in values[0]:
        return None
    return values[0].strip()
