"""Job functions for the tests that drive a real server."""

import os
import threading
from pathlib import Path
from typing import Any

from mlflow.server.jobs import TransientError, job


@job("endpoint_add", max_workers=2)
def add(x: int, y: int = 0, note: Any = None) -> dict[str, int]:
    return {"sum": x + y}


@job("endpoint_fail", max_workers=2)
def fail(reason: str) -> None:
    raise ValueError(reason)


@job("endpoint_hold", max_workers=2)
def hold(pid_file: str) -> None:
    Path(pid_file).write_text(str(os.getpid()))
    threading.Event().wait(600)


@job("endpoint_flaky", max_workers=2)
def flaky(attempts_file: str, failures: int) -> int:
    attempts = Path(attempts_file)
    with attempts.open("a") as file:
        file.write(".")
    count = len(attempts.read_text())
    if count <= failures:
        raise TransientError(ConnectionError("not yet"))
    return count
