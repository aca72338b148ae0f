"""Notices the end of the server process that a runner belongs to."""

import os
import select
import threading
from collections.abc import Callable

from mlflow.server.jobs.clock import Clock

SERVER_PID_ENV_VAR = "MLFLOW_SERVER_PID"

_POLL_SECONDS = 1.0


class ServerWatch:
    """Calls back once when a process is gone."""

    def __init__(self, pid: int, on_death: Callable[[], None], clock: Clock) -> None:
        self._pid = pid
        self._on_death = on_death
        self._clock = clock
        self._never = threading.Event()

    def start(self) -> None:
        """Watch from now on, on a thread of its own."""
        threading.Thread(target=self._watch, name="mlflow-server-watch", daemon=True).start()

    def _watch(self) -> None:
        if hasattr(os, "pidfd_open"):
            self._await_exit()
        else:
            while _exists(self._pid):
                self._clock.wait(self._never, _POLL_SECONDS)
        self._on_death()

    def _await_exit(self) -> None:
        # Readable as soon as the process has ended, even while nobody has reaped it.
        try:
            pidfd = os.pidfd_open(self._pid)
        except ProcessLookupError:
            return
        try:
            select.select([pidfd], [], [])
        finally:
            os.close(pidfd)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
