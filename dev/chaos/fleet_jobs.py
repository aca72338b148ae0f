"""Job functions of a fleet under attack; each attempt tells the effect log what it does.

A result names the fence of its attempt, and so does every progress message, so that whatever
stands in a row tells who wrote it.
"""

import itertools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dev.chaos.effects import EffectLog
from mlflow.server.jobs.functions import TransientError, job
from mlflow.server.jobs.progress import update_job_progress

TICK_SECONDS = 0.05
ANTIDOTE = "antidote"


@job("chaos_plain", max_workers=2)
def plain(folder, ticks):
    return _Attempt(folder).run(ticks)


@job("chaos_exclusive", max_workers=2, exclusive=["key"])
def exclusive(folder, ticks, key):
    return _Attempt(folder, key=key).run(ticks)


@job("chaos_retried", max_workers=1)
def retried(folder, ticks, failures):
    """Fails for now in its first attempts."""
    attempt = _Attempt(folder)
    for number in range(failures):
        if attempt.is_first_to(f"fail-{number}"):
            attempt.log.write("failing", **attempt.facts)
            raise TransientError(RuntimeError(f"failure {number}"))
    return attempt.run(ticks)


@job("chaos_slow", max_workers=2)
def slow(folder, ticks):
    """Reports its progress, under its fence."""
    attempt = _Attempt(folder)
    update_job_progress(message=attempt.message)
    return attempt.run(ticks)


@job("chaos_crashing", max_workers=1)
def crashing(folder, ticks, how):
    """Its process ends without a word."""
    attempt = _Attempt(folder)
    attempt.work(ticks)
    attempt.log.write("crashing", **attempt.facts)
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGKILL)


@job("chaos_poison", max_workers=1)
def poison(folder, ticks):
    """Kills the runner of each of its attempts, until there is an antidote."""
    attempt = _Attempt(folder)
    if (Path(folder) / ANTIDOTE).exists():
        return attempt.run(ticks)
    attempt.work(ticks)
    attempt.log.write("poisoning", **attempt.facts)
    os.kill(int(os.environ["_MLFLOW_ORIGINAL_PARENT_PID"]), signal.SIGKILL)
    return attempt.work(itertools.count())


class _Attempt:
    """One claim's work on its job."""

    def __init__(self, folder: str, key: str | None = None) -> None:
        self.log = EffectLog(Path(folder))
        self._folder = Path(folder)
        self._fence = int(os.environ["_MLFLOW_SERVER_JOB_FENCE"])
        self.facts = {
            "job": os.environ["_MLFLOW_SERVER_JOB_ID"],
            "fence": self._fence,
            "pid": os.getpid(),
            "key": key,
        }
        self.log.write("started", **self.facts)

    @property
    def message(self) -> str:
        return f"fence {self._fence}"

    def is_first_to(self, name: str) -> bool:
        try:
            (self._folder / f"{self.facts['job']}-{name}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def work(self, ticks: int | Iterator[int]) -> None:
        for _ in range(ticks) if isinstance(ticks, int) else ticks:
            self.log.write("worked", **self.facts)
            time.sleep(TICK_SECONDS)

    def run(self, ticks: int) -> dict[str, Any]:
        self.work(ticks)
        self.log.write("ended", **self.facts)
        return {"fence": self._fence, "pid": self.facts["pid"]}
