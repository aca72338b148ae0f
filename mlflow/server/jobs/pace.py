"""How often a runner looks by itself: seldom where wake-ups are known to come, else often. Pure.

Keeps I9: with every wake-up lost, each look still comes.
"""

from collections.abc import Callable

SLOW_POLL_SECONDS = 30.0
QUICK_POLL_SECONDS = 5.0
_CANCEL_LOOK_SECONDS = 0.5

# A loop shortens its pauses by as much at most, to keep runners apart.
POLL_SHARE = 0.85


class Pace:
    """The pauses between looks, as of now."""

    def __init__(
        self, chosen_poll_seconds: float | None, hears_all: Callable[[], bool] = lambda: False
    ) -> None:
        """
        Args:
            chosen_poll_seconds: The operator's word; None leaves it to the wake-ups.
            hears_all: Whether wake-ups of all who share the database arrive here.
        """
        self._chosen_poll_seconds = chosen_poll_seconds
        self._hears_all = hears_all

    @property
    def hears_all(self) -> bool:
        """Whether wake-ups of all who share the database arrive here."""
        return self._hears_all()

    @property
    def poll_seconds(self) -> float:
        """How long new work waits at most when its wake-up was lost."""
        if self._chosen_poll_seconds is not None:
            return self._chosen_poll_seconds
        return SLOW_POLL_SECONDS if self.hears_all else QUICK_POLL_SECONDS

    @property
    def cancel_look_seconds(self) -> float:
        """The pause between two looks for cancellations, while jobs are owned.

        Renewals find a cancellation as well, so that where wake-ups come a look is for lost ones.
        """
        return SLOW_POLL_SECONDS if self.hears_all else _CANCEL_LOOK_SECONDS

    @property
    def next_batch_look_seconds(self) -> float | None:
        """The pause between two looks for full batches that ended elsewhere; None for no look."""
        return None if self.hears_all else QUICK_POLL_SECONDS
