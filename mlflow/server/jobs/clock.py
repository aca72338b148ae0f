"""Elapsed time and interruptible waits, replaceable in tests; no other replica sees them (I7)."""

import threading
import time

# Leases run on while a host sleeps, and Linux counts that time in this clock only.
_CLOCK_ID = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock:
    """The host's clock that never goes backwards."""

    def monotonic(self) -> float:
        """Seconds since some fixed instant; only differences mean anything."""
        return time.clock_gettime(_CLOCK_ID)

    def wait(self, event: threading.Event, timeout_seconds: float | None) -> bool:
        """Block until `event` is set or the time is over; true when it is set.

        Args:
            event: What ends the wait early.
            timeout_seconds: How long to wait at most; None waits for the event alone.
        """
        return event.wait(timeout_seconds)
