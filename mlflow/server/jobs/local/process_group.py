"""One process in a session and process group of its own: waited for, killed whole, reaped last.

Whole includes those of its family that have left the group.
"""

import logging
import math
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from mlflow.server.jobs.local.family import Family

_logger = logging.getLogger(__name__)

_CHILD_WATCH = str(Path(__file__).with_name("child_watch.py"))

# The longest wait that poll(2) takes, in milliseconds.
_MAX_POLL_MS = 2**31 - 1


class Leader(Protocol):
    """The process that a group was made for, as far as a `ProcessGroup` needs it.

    Attributes:
        pid: Its process id, which is the number of the group.
        stderr: The read end of what the group writes to its standard error.
    """

    pid: int
    stderr: BinaryIO

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for its end, and reap it.

        Args:
            timeout: Seconds to wait at most. Given only where there are no pidfds.

        Returns:
            Its exit code, minus the signal's number if a signal ended it; None if nobody knows.

        Raises:
            subprocess.TimeoutExpired: It has not ended.
        """


class ProcessGroup:
    """A process that dies with this one, and takes its group with it.

    The leader is not reaped before the rest of its group is killed, so that the group's number
    cannot belong to anybody else yet.
    """

    def __init__(self, leader: Leader, lifeline: int, family: Family) -> None:
        """
        Args:
            leader: The process; it leads its group already.
            lifeline: The write end of the pipe that the leader watches.
            family: What the leader's mark makes of it and its descendants.
        """
        self._leader = leader
        self._family = family
        self._lifeline: int | None = lifeline
        self._code: int | None = None
        self._is_reaped = False
        self._reaping = threading.Lock()
        self._pidfd = _pidfd(leader.pid)

    @classmethod
    def start(
        cls,
        module: str,
        arguments: Sequence[str] = (),
        *,
        env: Mapping[str, str],
        python: str = sys.executable,
        pass_fds: Sequence[int] = (),
        watch: str = "thread",
        family: Family | None = None,
    ) -> "ProcessGroup":
        """Start a Python module as a program.

        Args:
            module: Dotted name of the module to run, or the path of its file.
            arguments: Its arguments. Anyone on this host can read them.
            env: Its whole environment.
            python: The interpreter.
            pass_fds: Descriptors that it inherits.
            watch: How it sees the end of this process; see `child_watch`.
            family: Which it belongs to; one of its own if None.

        Raises:
            OSError: The interpreter cannot be started.
        """
        family = family or Family()
        read_end, lifeline = os.pipe()
        try:
            process = subprocess.Popen(
                [python, _CHILD_WATCH, watch, str(read_end), module, *arguments],
                env={**env, **family.environment},
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(read_end, *pass_fds),
                start_new_session=True,
            )
        except BaseException:
            os.close(lifeline)
            raise
        finally:
            os.close(read_end)
        return cls(process, lifeline, family)

    @property
    def pid(self) -> int:
        """The process id of the leader, which is the number of the group."""
        return self._leader.pid

    @property
    def stderr(self) -> BinaryIO:
        """The read end of what the group writes to its standard error."""
        return self._leader.stderr

    @property
    def has_pidfd(self) -> bool:
        """Whether it can be waited for without reaping the leader."""
        return self._pidfd is not None

    def wait(self, timeout: float | None) -> bool:
        """Wait until the leader has ended; does not reap it.

        Args:
            timeout: Seconds to wait at most; None waits for ever.

        Returns:
            Whether it has ended.
        """
        with self._reaping:
            if self._is_reaped:
                return True
            # A duplicate: `end` may close ours while this thread waits.
            pidfd = None if self._pidfd is None else os.dup(self._pidfd)
        if pidfd is None:
            return self._wait_without_pidfd(timeout)
        try:
            return _has_ended(pidfd, timeout)
        finally:
            os.close(pidfd)

    def kill(self) -> None:
        """Kill the group, leaving the leader to be reaped, and its family to be ended, by `end`."""
        with self._reaping:
            if not self._is_reaped:
                self._signal_group()

    def end(self) -> int | None:
        """Kill what is left of the family, reap the leader, release everything.

        Returns:
            The leader's exit code, minus the signal's number if a signal ended it; None if nobody
            knows.
        """
        with self._reaping:
            if self._lifeline is not None:
                self._signal_group()
                if self._pidfd is not None:
                    # Its parent may be another process, which serves others meanwhile.
                    _has_ended(self._pidfd, None)
                # A dead leader starts nobody more.
                if not self._family.end():
                    _logger.warning("A process that descends from %d cannot be killed", self.pid)
                self._code = self._leader.wait()
                self._is_reaped = True
                self._release()
            return self._code

    def _wait_without_pidfd(self, timeout: float | None) -> bool:
        try:
            self._leader.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        self._is_reaped = True
        return True

    def _signal_group(self) -> None:
        try:
            os.killpg(self._leader.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def _release(self) -> None:
        os.close(self._lifeline)
        self._lifeline = None
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def describe_exit(code: int | None) -> str:
    """An exit code in words: `exited with error code 3`, `was killed by SIGSEGV (signal 11)`."""
    if code is None:
        return "ended in a way that nobody saw"
    if code >= 0:
        return f"exited with error code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"was killed by signal {-code}"
    hint = ", often a sign that the host ran out of memory" if name == "SIGKILL" else ""
    return f"was killed by {name} (signal {-code}){hint}"


def _has_ended(pidfd: int, timeout: float | None) -> bool:
    milliseconds = None
    if timeout is not None:
        milliseconds = min(math.ceil(max(timeout, 0) * 1000), _MAX_POLL_MS)
    waiter = select.poll()
    waiter.register(pidfd, select.POLLIN)
    return bool(waiter.poll(milliseconds))


def _pidfd(pid: int) -> int | None:
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
