"""Sees to the end of a runner that cannot do so itself. Keeps I4 outside the database.

Nobody can clean up after their own SIGKILL, nor stop their work during their own SIGSTOP; so a
runner that has work has a watchdog, in a session of its own, which no Ctrl-Z and no signal to the
server's group reaches. A pipe, of which only the runner has the other end, tells it two things.

**The runner has gone silent.** It tells the watchdog an instant, and a later one before that is
over. Past the last one the watchdog kills it, stopped or not. The instant lies behind that of
self-fencing, which is gentler and comes first in a runner that is awake, and before the end of the
lease.

**The runner is gone**, for this or any other reason. The watchdog then kills all that wears the
mark of its jobs, those included that left their process group and session (`local/family`).

A runner that has had no job for a while, and of whose jobs nothing is left, needs none: it ends its
watchdog, and starts another with the next job.

Where the watchdog is stopped together with the runner (a frozen container), the kernel kills the
runner instead (`kernel_alarm`); what only the watchdog finds has the moment until it wakes.

    python watchdog.py READ_END [MARK]

Run by its path; it needs the standard library only.
"""

import logging
import math
import os
import runpy
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_logger = logging.getLogger(__name__)

_INSTANT = struct.Struct("d")
_LONGEST_WAIT_SECONDS = 3600.0
# What hangs in the kernel may take its time to die.
_FAMILY_PATIENCE_SECONDS = 600.0
_REST_SECONDS = 30.0


class Watchdog:
    """The runner's side. The process starts with the first instant, and anew if it is gone."""

    def __init__(
        self,
        mark: str | None = None,
        env: Mapping[str, str] | None = None,
        rest_seconds: float = _REST_SECONDS,
    ) -> None:
        """
        Args:
            mark: What is worn by that which must not outlive this process; see `local/family`.
            env: The environment of the watchdog, which needs none.
            rest_seconds: How long nothing must have been expected before the process is ended.
        """
        self._mark = mark
        self._env = dict(env or {})
        self._rest_seconds = rest_seconds
        self._rest_at = math.inf
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
        """Be killed at this instant of `Clock`, unless another is told before.

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
            self._end_if_not_needed()
            return
        try:
            if self._process is None:
                self._start()
            os.write(self._write_end, _INSTANT.pack(instant))
            self._told = instant
            self._rest_at = _now() + self._rest_seconds
        except OSError as error:
            # Self-fencing goes on without it.
            _logger.warning("The runner has no watchdog now: %s", error)
            self._end()

    def _end_if_not_needed(self) -> None:
        if self._told < math.inf or _now() < self._rest_at:
            return
        self._rest_at = _now() + self._rest_seconds
        # What hangs in the kernel may outlive its job, and must not outlive this process.
        if self._mark is None or not _parts_of_family()["marked"](self._mark):
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
        arguments = [] if self._mark is None else [self._mark]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, str(read_end), *arguments],
                env=self._env,
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
        wait = min(max(instant - _now(), 0.0), _LONGEST_WAIT_SECONDS)
        if told.poll(math.ceil(wait * 1000)):
            # Atomic: each instant is far shorter than what a pipe takes at once.
            data = os.read(read_end, _INSTANT.size)
            if not data:
                return
            (instant,) = _INSTANT.unpack(data)
        elif _now() >= instant:
            kill()
            instant = math.inf


def _now() -> float:
    # As `Clock` has it, whose module cannot be imported here.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def main(read_end: str, mark: str | None = None) -> None:
    # Whoever stops all processes of a server at once does not mean the one that sees them off.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    runner = os.getppid()
    killed = "The job runner gave no sign of life in time and is killed: its jobs may be another's"

    def kill() -> None:
        # While the pipe is open its runner lives, so the number is still its own.
        if os.getppid() == runner:
            print(killed, file=sys.stderr, flush=True)
            os.kill(runner, signal.SIGKILL)

    watch(int(read_end), kill)
    if mark is not None:
        _parts_of_family()["end_marked"](mark, _FAMILY_PATIENCE_SECONDS)


def _parts_of_family() -> dict[str, Any]:
    # The watchdog's own process cannot import the package.
    return runpy.run_path(str(Path(__file__).with_name("local") / "family.py"))


if __name__ == "__main__":
    main(*sys.argv[1:])
