"""When a fleet could recover nothing: no replica was up, or the database was away."""

from collections.abc import Iterable

from dev.chaos.effects import Effect

DATABASE = "database"

# In the effect log: a replica, or the database, is there from now on, or is not.
UP, DOWN = "up", "down"


class Outages:
    """The spans of time in which nobody could have recovered anything."""

    def __init__(self, told: Iterable[Effect]) -> None:
        """
        Args:
            told: What the effect log says of no job, oldest first.
        """
        self._spans: list[tuple[float, float]] = []
        up: set[str] = {DATABASE}
        began: float | None = None
        for each in told:
            if each["what"] not in (UP, DOWN):
                continue
            (up.add if each["what"] == UP else up.discard)(each["who"])
            works = DATABASE in up and len(up) > 1
            if works and began is not None:
                self._spans.append((began, each["ms"]))
                began = None
            elif not works and began is None:
                began = each["ms"]
        if began is not None:
            self._spans.append((began, float("inf")))

    def touch(self, first_ms: float, last_ms: float) -> bool:
        """Whether there was one between these times of the wall clock."""
        return any(first <= last_ms and last >= first_ms for first, last in self._spans)
