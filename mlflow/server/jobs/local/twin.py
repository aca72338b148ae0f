"""A fork server that was forked from its runner, before that became the runner.

See `warm_start`, which makes it, and `forking`, which uses it.
"""

import os
import socket
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from mlflow.server.jobs.local.family import MARK_ENV_VAR, Family
from mlflow.server.jobs.local.process_group import ProcessGroup


@dataclass(frozen=True)
class Twin:
    """What a runner holds of a fork server that is warm from its birth.

    Attributes:
        group: Its process.
        control: Where it is asked.
        told: What it told of itself.
        env: Its environment.
    """

    group: ProcessGroup
    control: socket.socket
    told: dict[str, Any]
    env: Mapping[str, str]

    @classmethod
    def fork(
        cls,
        be: Callable[[socket.socket, int], None],
        told: dict[str, Any],
        env: Mapping[str, str],
    ) -> "Twin":
        """Fork it from this process, which must have no threads.

        Args:
            be: What it does all its life, with its end of the control socket and of its lifeline.
                It closes what else it finds open, and has its name and its watch by then.
            told: What it told of itself.
            env: The environment that this process was started with, a helper's mark included.

        Raises:
            OSError: It cannot be forked.
        """
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        watched, lifeline = os.pipe()
        stderr, their_stderr = os.pipe()
        starting, started = os.pipe()
        if (pid := os.fork()) == 0:
            _live(be, theirs, watched, their_stderr)
        theirs.close()
        for fd in (watched, their_stderr, started):
            os.close(fd)
        # Ends when the child has closed what is not its own, or is gone.
        os.read(starting, 1)
        os.close(starting)
        leader = _Child(pid, os.fdopen(stderr, "rb", buffering=0))
        family = Family(value=env[MARK_ENV_VAR])
        return cls(ProcessGroup(leader, lifeline, family), control, told, env)

    def end(self) -> None:
        """Have no such server."""
        self.control.close()
        self.group.end()
        self.group.stderr.close()


class _Child:
    def __init__(self, pid: int, stderr: BinaryIO) -> None:
        self.pid = pid
        self.stderr = stderr

    def wait(self, timeout: float | None = None) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _live(
    be: Callable[[socket.socket, int], None], control: socket.socket, lifeline: int, stderr: int
) -> None:
    code = 1
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(stderr, 2)
        be(control, lifeline)
        code = 0
    except BaseException:  # noqa: BLE001 - root of a process
        traceback.print_exc()
    finally:
        os._exit(code)


_born: Twin | None = None


def adopt(twin: Twin) -> None:
    """Let this process have the twin as its first fork server."""
    global _born
    _born = twin


def adopted() -> Twin | None:
    """The twin of this process, for the first who asks."""
    global _born
    twin, _born = _born, None
    return twin
