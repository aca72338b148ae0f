"""Kills the runner if it does not say in time that it is awake. Keeps I4 outside the database.

A runner that is stopped, or stuck, cannot fence itself, and its jobs would work on while others run
them again. So it has a watchdog: a small process in a session of its own, which no Ctrl-Z and no
signal to the server's group reaches. The runner tells it an instant, and a later one before that
is over. Past the last one the watchdog kills the runner, stopped or not; the jobs on its host die
of that (`local/child_watch`), and their rows are left to recovery.

The instant lies behind that of self-fencing, which is gentler and comes first in a runner that is
awake, and before the end of the lease.

What is not promised: where the watchdog is stopped together with the runner (a frozen container),
jobs may do their work for the moment that it takes the two to wake.

    python watchdog.py READ_END

Run by its path; it needs the standard library only.
"""

import logging
import math
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable

_logger = logging.getLogger(__name__)

_INSTANT = struct.Struct("d")
_LONGEST_WAIT_SECONDS = 3600.0


class Watchdog:
    """The runner's side. The process starts with the first instant, and anew if it is gone."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._write_end = -1
        self._told = math.inf
        self._is_stopped = False
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The process id of the watchdog; None before it was needed."""
        return self._process.pid if self._process else None

    def expect_sign_by(self, instant: float) -> None:
        """Be killed at this instant of the monotonic clock, unless another is told before.

        Args:
            instant: Infinity for never.
        """
        with self._lock:
            if not self._is_stopped:
                self._expect_sign_by(instant)

    def stop(self) -> None:
        """End it, and need none from now on."""
        with self._lock:
            self._is_stopped = True
            self._end()

    def _expect_sign_by(self, instant: float) -> None:
        if self._process is None and instant == math.inf:
            return
        if self._process is not None and self._process.poll() is not None:
            _logger.warning("The runner's watchdog has ended (%d)", self._process.returncode)
            self._end()
        elif instant == self._told:
            return
        try:
            if self._process is None:
                self._start()
            os.write(self._write_end, _INSTANT.pack(instant))
            self._told = instant
        except OSError as error:
            # Self-fencing goes on without it.
            _logger.warning("The runner has no watchdog now: %s", error)
            self._end()

    def _end(self) -> None:
        process, self._process, self._told = self._process, None, math.inf
        if process is not None:
            os.close(self._write_end)
            # It has nothing to tidy up, and may be stopped itself.
            process.kill()
            process.wait()

    def _start(self) -> None:
        read_end, self._write_end = os.pipe()
        # A full pipe is that of a watchdog that is stopped itself.
        os.set_blocking(self._write_end, False)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, str(read_end)],
                stdin=subprocess.DEVNULL,
                pass_fds=[read_end],
                start_new_session=True,
            )
        except OSError:
            os.close(self._write_end)
            raise
        finally:
            os.close(read_end)


def watch(read_end: int, kill: Callable[[], None]) -> None:
    """Call `kill` past the last instant that was told; return when the other end is closed."""
    os.set_blocking(read_end, False)
    told = select.poll()
    told.register(read_end, select.POLLIN)
    instant = math.inf
    while True:
        wait = min(max(instant - time.monotonic(), 0.0), _LONGEST_WAIT_SECONDS)
        if told.poll(math.ceil(wait * 1000)):
            # Atomic: each instant is far shorter than what a pipe takes at once.
            data = os.read(read_end, _INSTANT.size)
            if not data:
                return
            (instant,) = _INSTANT.unpack(data)
        elif time.monotonic() >= instant:
            kill()
            return


def main(read_end: str) -> None:
    runner = os.getppid()
    killed = "The job runner gave no sign of life in time and is killed: its jobs may be another's"

    def kill() -> None:
        # While the pipe is open its runner lives, so the number is still its own.
        if os.getppid() == runner:
            print(killed, file=sys.stderr, flush=True)
            os.kill(runner, signal.SIGKILL)

    watch(int(read_end), kill)


if __name__ == "__main__":
    main(*sys.argv[1:])
