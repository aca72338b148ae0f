"""Notices the end of the server process that a runner belongs to, and can end it."""

import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import wait

from mlflow.server.jobs.clock import Clock

SERVER_PID_ENV_VAR = "MLFLOW_SERVER_PID"

_POLL_SECONDS = 1.0


class ServerWatch:
    """Watches one process, from the time when this is made."""

    def __init__(self, pid: int, clock: Clock) -> None:
        self._pid = pid
        self._clock = clock
        self._never = threading.Event()
        self._pidfd: int | None = None
        self._is_gone = False
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._is_gone = True
        except (AttributeError, OSError):
            # Not every system and interpreter has them, and a container may forbid them.
            pass

    def start(self, on_death: Callable[[], None]) -> None:
        """Call back once when the process is gone, on a thread of its own."""
        threading.Thread(
            target=self._watch, args=(on_death,), name="mlflow-server-watch", daemon=True
        ).start()

    def terminate(self) -> None:
        """Ask the process to end."""
        try:
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)
            elif not self._is_gone:
                os.kill(self._pid, signal.SIGTERM)
        except ProcessLookupError:
            pass

    def _watch(self, on_death: Callable[[], None]) -> None:
        if self._pidfd is not None:
            # Readable as soon as the process has ended, even while nobody has reaped it.
            wait([self._pidfd])
        elif not self._is_gone:
            while _exists(self._pid):
                self._clock.wait(self._never, _POLL_SECONDS)
        self._is_gone = True
        on_death()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
