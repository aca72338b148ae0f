"""Kill the processes that descend from a job, whatever session they moved to. Keeps I4.

A job's first process leads a group of its own, and most descendants stay in it. One that leaves
(`setsid`, a daemon) still has the environment that it was started with, and there a mark: it names
the runner, and the one family of processes that began with the job's first. The kernel shows the
environment of a program as it was at its start, so the mark is found however the process changed
its own copy. A forked job writes its mark over that of the fork server (`fork_child`).

What is not promised: a process that left its session and was given an environment without the mark
is not found. Where there is no /proc, nothing is, and a family is its process group.

Needs the standard library only, because the runner's watchdog runs it.
"""

import os
import signal
import time
import uuid

MARK_ENV_VAR = "_MLFLOW_SERVER_JOB_FAMILY"

_RUNNER = uuid.uuid4().hex
_PROC = "/proc"
_PATIENCE_SECONDS = 5.0
_LOOK_SECONDS = 0.005
# Among what follows a program's name in /proc/PID/stat: fields 3, 23, 50 and 51 of proc(5).
_STATE, _MEMORY, _ENVIRONMENT_STARTS, _ENVIRONMENT_ENDS = 0, 20, 47, 48


class Family:
    """The processes of one job: its first one and all that descend from it.

    Those of a helper of the runner, which does no job's work, are a family of none.
    """

    def __init__(self, of_helper: bool = False, value: str | None = None) -> None:
        """
        Args:
            of_helper: Whether it is that of a helper.
            value: The mark that its processes wear already.
        """
        runner = "0" * len(_RUNNER) if of_helper else _RUNNER
        self.value = value or f"{runner}.{uuid.uuid4().hex}"

    @property
    def environment(self) -> dict[str, str]:
        """The variable that marks a process as one of this family."""
        return {MARK_ENV_VAR: self.value}

    def end(self) -> bool:
        """Kill what is left; false if something would not die."""
        return end_marked(mark_of(MARK_ENV_VAR, self.value))


def mark_of_all_families() -> str:
    """The mark of the families of all jobs that this process starts."""
    return mark_of(MARK_ENV_VAR, f"{_RUNNER}.")


def mark_of(variable: str, value: str) -> str:
    """What a process wears in whose environment the variable has a value that begins like this."""
    return f"{variable}={value}"


def end_marked(mark: str, patience_seconds: float = _PATIENCE_SECONDS) -> bool:
    """Kill all processes with a mark but this one, until there are none.

    Args:
        mark: How a variable of their environment begins, its name included.
        patience_seconds: How long to try.

    Returns:
        Whether none is left.
    """
    deadline = time.monotonic() + patience_seconds
    while found := marked(mark):
        if time.monotonic() > deadline:
            return False
        for pid in found:
            _kill(pid, mark)
        # One may have forked before it was killed, and none is gone at once.
        time.sleep(_LOOK_SECONDS)
    return True


def marked(mark: str) -> list[int]:
    """The process ids of all that wear a mark or do not tell yet, without this process."""
    try:
        names = os.listdir(_PROC)
    except OSError:
        return []
    pids = [int(name) for name in names if name.isdigit()]
    return [pid for pid in pids if pid != os.getpid() and _wears(pid, mark) is not False]


def _wears(pid: int, mark: str) -> bool | None:
    """Whether a process wears a mark; None while it does not tell."""
    # That of another user's process cannot be read.
    try:
        with open(f"{_PROC}/{pid}/environ", "rb", buffering=0) as environ:
            environment = environ.readall()
    except OSError:
        return False
    if not environment and _starts_a_program(pid):
        return None
    return b"\0" + mark.encode() in b"\0" + environment


def _starts_a_program(pid: int) -> bool:
    """Whether an empty environment may be one that is not there yet.

    It stays empty where the process has ended, is the kernel's own and has no memory, or was
    started with nothing in it.
    """
    try:
        with open(f"{_PROC}/{pid}/stat", "rb", buffering=0) as stat:
            fields = stat.readall().rpartition(b")")[2].split()
    except OSError:
        return False
    has_memory = fields[_STATE] not in (b"Z", b"X") and fields[_MEMORY] != b"0"
    starts, ends = fields[_ENVIRONMENT_STARTS], fields[_ENVIRONMENT_ENDS]
    return has_memory and (starts != ends or ends == b"0")


def _kill(pid: int, mark: str) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):
        # An interpreter that was built for old kernels has none, and a container may forbid them.
        _kill_by_number(pid, mark)
        return
    try:
        # The number may have passed to another process before the descriptor was there.
        if _wears(pid, mark):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)


def _kill_by_number(pid: int, mark: str) -> None:
    try:
        if _wears(pid, mark):
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
