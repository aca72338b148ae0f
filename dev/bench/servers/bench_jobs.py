"""The job functions that servers are measured with; they find this module by PYTHONPATH."""

import os
import time

from mlflow.server.jobs import job


@job(name="bench_first_line", max_workers=2)
def first_line(sent_at: float) -> float:
    """Returns the seconds from `sent_at` (Unix time of this host) to this very line."""
    return time.time() - sent_at


@job(name="bench_two", max_workers=2)
def two_at_once() -> None:
    """Does nothing, twice at a time."""


@job(name="bench_eight", max_workers=8)
def eight_at_once() -> None:
    """Does nothing, eight times at a time."""


@job(name="bench_hold", max_workers=8)
def hold(begun: str, until: str) -> None:
    """Makes a file, and lasts until another is there."""
    with open(begun, "w"):
        pass
    while not os.path.exists(until):
        time.sleep(0.1)
