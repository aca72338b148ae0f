"""Requests to stop a runner, from signals and other threads, in the order in which they came.

They pass through a pipe, because a signal handler may interrupt its thread anywhere and must take
no lock.
"""

import os
import select
import signal
from enum import Enum


class StopRequest(Enum):
    """Who asks. SIGTERM says no more twice: a service manager and the launcher may both send it."""

    TERMINATE = b"t"
    INTERRUPT = b"i"
    SERVER_GONE = b"g"


class StopRequests:
    """A queue of requests."""

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._write_fd, False)

    def catch_signals(self) -> None:
        """Turn SIGTERM and SIGINT of this process into requests; only from the main thread."""
        signal.signal(signal.SIGTERM, lambda *_: self.put(StopRequest.TERMINATE))
        signal.signal(signal.SIGINT, lambda *_: self.put(StopRequest.INTERRUPT))

    def put(self, request: StopRequest) -> None:
        """Add a request."""
        try:
            os.write(self._write_fd, request.value)
        except BlockingIOError:
            # Thousands wait unread already, each of which says the same.
            pass

    def get(self, timeout_seconds: float | None = None) -> StopRequest | None:
        """The next request; None when the time is over first."""
        readable, _, _ = select.select([self._read_fd], [], [], timeout_seconds)
        return StopRequest(os.read(self._read_fd, 1)) if readable else None
