"""Send hints at most once per moment, and lose none: what came meanwhile is sent at its end."""

import threading
from collections.abc import Callable

from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.wakeups.base import NOTHING, Hint

WINDOW_SECONDS = 0.03


class Debounced:
    """Sends on a thread of its own, which lives only as long as there is something to send.

    The first hint after a quiet time goes out at once. Those that come within a window of it become
    one, which goes out when the window ends.
    """

    def __init__(self, send: Callable[[Hint], None], clock: Clock) -> None:
        """
        Args:
            send: Sends a hint, may block and never raises.
            clock: Waits for the end of a window.
        """
        self._send = send
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting = NOTHING
        self._is_sending = False
        self._never = threading.Event()

    def __call__(self, hint: Hint) -> None:
        """Send soon. Never raises and never blocks."""
        with self._lock:
            self._waiting |= hint
            if self._is_sending:
                return
            self._is_sending = True
        try:
            threading.Thread(target=self._run, name="mlflow-job-hints", daemon=True).start()
        except RuntimeError:
            # No thread is to be had, and a hint may be lost.
            self._is_sending = False

    def _run(self) -> None:
        while True:
            with self._lock:
                hint, self._waiting = self._waiting, NOTHING
                if not hint:
                    self._is_sending = False
                    return
            self._send(hint)
            self._clock.wait(self._never, WINDOW_SECONDS)
