"""Stop a process without stopping everybody."""

import os
import signal
import sqlite3
import time
from contextlib import closing

_PATIENCE_SECONDS = 60
_LOOK_SECONDS = 0.02


def pause_between_writes(pid: int, database_uri: str) -> None:
    """Stop a process at a moment when it does not hold the one write lock of its SQLite database.

    A process that is stopped with that lock in its hand stops all others: no lease can help there.
    """
    path = database_uri.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as database:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            os.kill(pid, signal.SIGSTOP)
            _wait_until_stopped(pid, deadline)
            try:
                database.execute("BEGIN IMMEDIATE")
                database.execute("ROLLBACK")
                return
            except sqlite3.OperationalError:
                assert time.monotonic() < deadline, "somebody always holds the write lock"
                os.kill(pid, signal.SIGCONT)
                time.sleep(_LOOK_SECONDS)


def _wait_until_stopped(pid: int, deadline: float) -> None:
    # The state is the first field behind the command, which may itself hold spaces and brackets.
    while _stat(pid).rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < deadline, f"process {pid} does not stop"
        time.sleep(_LOOK_SECONDS)


def _stat(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read()
