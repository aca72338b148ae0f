"""Job functions that stock 3.18.0 and the fork run alike; servers find them by PYTHONPATH."""

import time
from pathlib import Path

from mlflow.server.jobs import job


@job(name="adoption_add", max_workers=2)
def add(left: int, right: int) -> int:
    return left + right


@job(name="adoption_hold", max_workers=2)
def hold(started: str, released: str) -> str:
    """Says that it has started, then runs until the file `released` exists."""
    Path(started).touch()
    while not Path(released).exists():
        time.sleep(0.05)
    return "released"
