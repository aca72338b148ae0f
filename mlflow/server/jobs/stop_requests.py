"""Requests to stop a runner, from signals and other threads, in the order in which they came.

They pass through a pipe, because a signal handler may interrupt its thread anywhere and must take
no lock. The kernel may give a signal to any thread, above all where the process was stopped, but
Python handles it in the main one: so the signal itself writes to the pipe too, which wakes that.
"""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from multiprocessing.connection import wait

from mlflow.server.jobs.runner_orders import Order


class StopRequest(Enum):
    """Who asks. TERMINATE and INTERRUPT are signals, the second of which is impatient.

    The launcher's DRAIN is no signal, so that a service manager that signals all processes of a
    server, and the launcher that passes its own on, do not look like somebody impatient.
    """

    TERMINATE = b"t"
    INTERRUPT = b"i"
    SERVER_GONE = b"g"
    LAUNCHER_GONE = b"l"
    DRAIN = Order.DRAIN.value
    NOW = Order.NOW.value

    @property
    def is_signal(self) -> bool:
        return self in (StopRequest.TERMINATE, StopRequest.INTERRUPT)

    @property
    def leaves_jobs_alone(self) -> bool:
        """Whether the jobs may still find their server, or soon find it again."""
        return self not in (StopRequest.SERVER_GONE, StopRequest.LAUNCHER_GONE)


class StopRequests:
    """A queue of requests."""

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._write_fd, False)
        self._has_begun = False
        self._beginning = threading.Lock()

    def begin(self) -> None:
        """From now on requests are queued; only from the main thread.

        Before, they end the process at once: there is nothing yet that an orderly end would save,
        and a start may take long where a database does not answer.
        """
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: self.put(StopRequest.TERMINATE))
        signal.signal(signal.SIGINT, lambda *_: self.put(StopRequest.INTERRUPT))
        with self._beginning:
            self._has_begun = True

    def follow(self, orders: int, on_end: Callable[[], None] | None = None) -> None:
        """Take orders from a descriptor, on a thread of its own.

        Args:
            orders: The read end of the launcher's pipe.
            on_end: Called when the launcher is gone.
        """
        threading.Thread(
            target=self._follow, args=(orders, on_end), name="mlflow-runner-orders", daemon=True
        ).start()

    def put(self, request: StopRequest) -> None:
        """Add a request."""
        try:
            os.write(self._write_fd, request.value)
        except BlockingIOError:
            # Thousands wait unread already, each of which says the same.
            pass

    def get(self, timeout_seconds: float | None = None) -> StopRequest | None:
        """The next request; None when the time is over first."""
        while wait([self._read_fd], timeout_seconds):
            with suppress(ValueError):
                return StopRequest(os.read(self._read_fd, 1))
            # That was the number of a signal, whose request follows.
        return None

    def _follow(self, orders: int, on_end: Callable[[], None] | None) -> None:
        while True:
            order = os.read(orders, 1)
            if not order and on_end:
                on_end()
            with self._beginning:
                if not self._has_begun:
                    os._exit(0)
            self.put(StopRequest(order) if order else StopRequest.LAUNCHER_GONE)
            if not order:
                return
