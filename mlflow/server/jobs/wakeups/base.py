"""What a wake-up is: a hint that there may be work. Keeps I9 by promising nothing.

A wake-up carries no content: whoever receives one looks at the database, where the truth is. It may
be lost, repeated, late, or come without a reason. Losing one costs at most one poll interval of
latency. Sending one therefore never fails and never blocks, and receiving several close together is
the same as receiving one.
"""

from collections.abc import Callable
from typing import Protocol


class WakeupReceiver(Protocol):
    """Calls back when a wake-up arrives."""

    def start(self, on_wake: Callable[[], None]) -> None:
        """Begin to listen; `on_wake` is called from a thread of the receiver and must not block."""

    def stop(self) -> None:
        """End listening; no call comes after this returns."""


class NoWakeups:
    """The receiver to which no wake-up ever comes; all still works, at the pace of the poll."""

    def start(self, on_wake: Callable[[], None]) -> None:
        pass

    def stop(self) -> None:
        pass
