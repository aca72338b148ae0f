"""Submit jobs of every kind to a fleet, and cancel some of them, as users of any replica would.

    python -m dev.chaos.load --database URI --effects FOLDER --rate 5 --seed 1

It is a process of its own, beside the replicas. It begins with the first line of its standard
input and waits while too much is unfinished. With the end of its input it submits nothing new, and
what has killed its runners until it was set aside is submitted once more, with the cause mended.
What it asked for and what it was told stand in the effect log; a request without an answer may have
happened or not.
"""

import argparse
import json
import random
import select
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy

from dev.chaos import history
from dev.chaos.effects import EffectLog
from dev.chaos.fleet_jobs import ANTIDOTE
from mlflow.entities._job_status import JobStatus
from mlflow.exceptions import MlflowException
from mlflow.server.jobs.lock_manager import lock_key
from mlflow.server.jobs.resubmission import resubmit_job
from mlflow.store.jobs.errors import JobStoreUnavailable
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore

_KINDS = {"plain": 8, "exclusive": 8, "retried": 4, "slow": 3, "canceled": 2, "crashing": 1}
_KEYS = 4
_MOST_FAILURES = 2
_CANCEL_AFTER_SECONDS = 1.5
_LOOK_SECONDS = 0.1
_JOBS_PER_POISON = 20
_BEFORE_POISON = 5
_MOST_UNFINISHED = 40
_UNFINISHED = sqlalchemy.text("SELECT count(*) FROM jobs WHERE status IN (0, 1, 6)")


def draw(chance: random.Random, max_retries: int) -> tuple[str, dict[str, Any], bool]:
    """A kind of job, its params, and whether it is to be canceled."""
    kind = chance.choices([*_KINDS], [*_KINDS.values()])[0]
    ticks = chance.randint(2, 10)
    match kind:
        case "exclusive":
            return kind, {"ticks": ticks, "key": f"key-{chance.randrange(_KEYS)}"}, False
        case "retried":
            failures = chance.randint(1, min(_MOST_FAILURES, max_retries))
            return kind, {"ticks": ticks, "failures": failures}, False
        case "slow":
            return kind, {"ticks": ticks * 6}, False
        case "canceled":
            return "slow", {"ticks": ticks * 20}, True
        case "crashing":
            return kind, {"ticks": ticks, "how": chance.choice(["exit", "kill"])}, False
    return kind, {"ticks": ticks}, False


class Load:
    """The users of a fleet."""

    def __init__(self, uri: str, effects: Path, seed: int, max_retries: int) -> None:
        self._store = SqlAlchemyJobStore(uri)
        self._effects = effects
        self._log = EffectLog(effects)
        self._chance = random.Random(seed)
        self._max_retries = max_retries
        self._to_cancel: list[tuple[float, str]] = []
        self._poisons: list[str] = []

    def prepare(self) -> None:
        """Let the database write its history from now on."""
        history.install(self._store.engine)

    def run(self, is_over: Callable[[float], bool], rate: float, poisons: int) -> None:
        """Submit so many jobs per second, and so many poisonous ones in all.

        Args:
            is_over: Waits for so many seconds at most, and says whether that was the end.
            rate: Jobs per second.
            poisons: Jobs that kill their runners; one among each of the first dozens.
        """
        submitted = 0
        while not is_over(self._chance.uniform(0.5, 1.5) / rate):
            self._cancel(time.monotonic())
            if self._has_enough_to_do():
                continue
            if poisons and submitted % _JOBS_PER_POISON == _BEFORE_POISON:
                # Once more if the database was away.
                taken = self._submit("poison", {"ticks": 5}, False)
                poisons -= taken
            else:
                taken = self._submit(*draw(self._chance, self._max_retries))
            submitted += taken
        while self._to_cancel:
            time.sleep(_LOOK_SECONDS)
            self._cancel(time.monotonic())
        self._cure()

    def _has_enough_to_do(self) -> bool:
        try:
            with self._store.engine.connect() as connection:
                return connection.execute(_UNFINISHED).scalar_one() >= _MOST_UNFINISHED
        except sqlalchemy.exc.DBAPIError:
            return False

    def _submit(self, kind: str, params: dict[str, Any], to_be_canceled: bool) -> bool:
        job_id, name = str(uuid.UUID(int=self._chance.getrandbits(128))), f"chaos_{kind}"
        params = {"folder": str(self._effects), **params}
        exclusive = ["key"] if kind == "exclusive" else False
        self._log.write("submitting", job=job_id, kind=kind)
        try:
            self._store.create_job(
                name,
                json.dumps(params),
                executor_backend="local",
                lock_key=lock_key(name, params, exclusive, None),
                job_id=job_id,
            )
        except JobStoreUnavailable as error:
            self._log.write("unavailable", job=job_id, error=str(error))
            return False
        self._log.write("submitted", job=job_id)
        if kind == "poison":
            self._poisons.append(job_id)
        if to_be_canceled:
            wait = self._chance.uniform(0, _CANCEL_AFTER_SECONDS)
            self._to_cancel.append((time.monotonic() + wait, job_id))
        return True

    def _cancel(self, now: float) -> None:
        due = [job_id for at, job_id in self._to_cancel if at <= now]
        self._to_cancel = [each for each in self._to_cancel if each[0] > now]
        for job_id in due:
            self._log.write("canceling", job=job_id)
            try:
                self._store.cancel_job(job_id)
            except MlflowException as error:
                self._log.write("not canceled", job=job_id, error=str(error))
            else:
                self._log.write("canceled", job=job_id)

    def _cure(self) -> None:
        """Submit what was set aside again, as an operator would who has mended the cause."""
        waiting = [*self._poisons]
        while waiting:
            time.sleep(_LOOK_SECONDS)
            waiting = [each for each in waiting if not self._has_ended(each)]
        (self._effects / ANTIDOTE).touch()
        for job_id in self._poisons:
            again = resubmit_job(job_id)
            self._log.write("resubmitted", job=again.job_id, of=job_id)

    def _has_ended(self, job_id: str) -> bool:
        try:
            return JobStatus.is_finalized(self._store.get_job(job_id).status)
        except JobStoreUnavailable:
            return False


def _input_ends(seconds: float) -> bool:
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def main() -> int:
    """Makes the tables, says that they are there, and submits."""
    parser = argparse.ArgumentParser(
        prog="python -m dev.chaos.load", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--database", required=True, help="URI of an empty database")
    parser.add_argument("--effects", type=Path, required=True, help="folder of the effect logs")
    parser.add_argument("--rate", type=float, default=3.0, help="jobs per second")
    parser.add_argument("--poisons", type=int, default=1, help="jobs that kill their runners")
    parser.add_argument("--max-retries", type=int, default=3, help="how often a job may fail")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    load = Load(options.database, options.effects, options.seed, options.max_retries)
    load.prepare()
    print(history.READY, flush=True)
    sys.stdin.buffer.raw.readline()
    load.run(_input_ends, options.rate, options.poisons)
    return 0


if __name__ == "__main__":
    sys.exit(main())
