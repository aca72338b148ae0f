"""One process that claims and works off jobs, leads when it can, and may be killed at any moment.

It keeps the rules of a runner: it works on a job only while it knows the claim to be live, by its
own clock from before the claim or renewal was sent. Against the rules, it also tries to end claims
that it knows to have run out, as a runner would that slept; the store has to refuse those.
"""

import contextlib
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.chaos.effects import EffectLog
from mlflow.entities._job_status import JobStatus
from mlflow.server.jobs.claim_fronts import ClaimFronts
from mlflow.server.jobs.clock import Clock
from mlflow.store.jobs import tables, transitions
from mlflow.store.jobs.errors import JobStoreUnavailable, JobTerminalStateUpdateException
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.jobs.values import Claim, ClaimedJob, JobUpdateStatus, Term

LEASE_SECONDS = 2.0
MARGIN_SECONDS = 0.3
CAPACITY = {"plain": 10, "exclusive": 5, "flaky": 5}
SECOND = 10**9

_LEAD_EVERY = 0.4
_CANCELS = 0.02
_SLEEPERS_PER_HUNDRED = 2
_REPORTS = 0.05


def fill(uri: str, count: int, seed: int) -> None:
    """Write the jobs: plain ones, exclusive ones of few keys, and some that fail at first."""
    chance = random.Random(seed)
    store = SqlAlchemyJobStore(uri)
    created = store.now_ms()
    keys = max(20, count // 200)
    rows = []
    for number in range(count):
        kind = chance.choices(list(CAPACITY), [6, 2, 2])[0]
        params = {"steps": chance.randint(1, 3)}
        if kind == "flaky":
            params["failures"] = chance.randint(1, 3)
        if number % 100 < _SLEEPERS_PER_HUNDRED:
            params["sleeps"] = True
        rows.append(
            {
                "id": job_id(number),
                "creation_time": created + number // 100,
                "last_update_time": created,
                "job_name": kind,
                "params": json.dumps(params),
                "workspace": "default",
                "status": JobStatus.PENDING.to_int(),
                "retry_count": 0,
                "lock_key": f"key-{chance.randrange(keys)}" if kind == "exclusive" else None,
            }
        )
    for start in range(0, count, 5_000):
        with store.engine.begin() as connection:
            connection.execute(tables.jobs.insert(), rows[start : start + 5_000])


def job_id(number: int) -> str:
    """The id of one of the jobs that `fill` writes."""
    return f"job-{number:08}"


@dataclass
class _Work:
    """A claimed job, and how much of it is still to do."""

    job: ClaimedJob
    left: int
    live_until: int


class Claimer:
    """The process: what it owns, and its beat."""

    def __init__(self, uri: str, effects: Path, jobs: int, seed: int):
        self._store = SqlAlchemyJobStore(uri)
        self._log = EffectLog(effects)
        self._chance = random.Random(seed)
        self._jobs = jobs
        self._name = f"claimer-{seed}"
        self._fronts = ClaimFronts(Clock())
        self._owned: dict[Claim, _Work] = {}
        self._asleep: dict[Claim, int] = {}
        self._term: Term | None = None
        self._lead_at = 0
        self._renew_at = 0

    def run(self) -> None:
        """Work until no job of the database is unfinished."""
        while True:
            busy = False
            with self._unavailable_is_logged("claim"):
                busy = self._claim()
            self._renew()
            for claim in list(self._owned):
                self._step(claim)
            self._wake_sleepers()
            self._lead()
            if self._chance.random() < _CANCELS:
                self._cancel()
            if busy or self._owned or self._asleep:
                continue
            if not self._store.search_jobs(statuses=transitions.UNFINISHED, max_results=1)[0]:
                return
            time.sleep(0.05)

    def _claim(self) -> bool:
        free = dict(CAPACITY)
        for work in self._owned.values():
            free[work.job.job_name] -= 1
        if sum(free.values()) * 2 < sum(CAPACITY.values()):
            return False
        asked = time.monotonic_ns()
        passed = self._fronts.of(free)
        batch = self._store.claim_batch(
            *(self._name, [None], free, LEASE_SECONDS, lambda name, params, workspace: None),
            created_since=passed,
        )
        unseen = self._fronts.met(batch, free, passed)
        for job in batch.claimed:
            facts = _of(job.claim)
            self._log.write("claimed", key=job.lock_key, **facts)
            if job.claim.fence == 1 and job.params.get("sleeps"):
                self._asleep[job.claim] = asked + int(LEASE_SECONDS * 2 * SECOND)
            else:
                self._owned[job.claim] = _Work(job, job.params["steps"], _live_until(asked))
        return bool(batch.claimed or unseen)

    def _renew(self) -> None:
        if not self._owned or time.monotonic_ns() < self._renew_at:
            return
        asked = time.monotonic_ns()
        self._renew_at = asked + int(LEASE_SECONDS / 3 * SECOND)
        with self._unavailable_is_logged("renew"):
            lost = self._store.renew(list(self._owned), LEASE_SECONDS)
            for claim, work in self._owned.items():
                if claim not in lost:
                    work.live_until = _live_until(asked)
            for claim, status in self._store.not_running(list(lost)).items():
                del self._owned[claim]
                if status is JobStatus.CANCELED:
                    self._end(claim, "confirm_canceled", None, self._store.confirm_canceled)

    def _step(self, claim: Claim) -> None:
        work = self._owned[claim]
        now = time.monotonic_ns()
        if now >= work.live_until:
            del self._owned[claim]
            self._finish(work)
        elif work.left:
            self._log.write("worked", now, key=work.job.lock_key, **_of(claim))
            work.left -= 1
            if self._chance.random() < _REPORTS:
                self._report(claim)
        else:
            del self._owned[claim]
            self._finish(work)

    def _finish(self, work: _Work) -> None:
        claim, value = work.job.claim, f"{self._name} under fence {work.job.claim.fence}"
        if work.job.retry_count < work.job.params.get("failures", 0):
            self._end(claim, "retry", value, lambda claim: self._store.retry(claim, value, 0.05))
        elif self._chance.random() < 0.05:
            self._end(claim, "fail", value, lambda claim: self._store.fail(claim, value))
        else:
            self._end(claim, "succeed", value, lambda claim: self._store.succeed(claim, value))

    def _wake_sleepers(self) -> None:
        now = time.monotonic_ns()
        for claim in [claim for claim, until in self._asleep.items() if until < now]:
            del self._asleep[claim]
            value = f"{self._name} woke under fence {claim.fence}"
            self._end(claim, "succeed", value, lambda claim, v=value: self._store.succeed(claim, v))

    def _report(self, claim: Claim) -> None:
        with contextlib.suppress(JobTerminalStateUpdateException):
            self._end(
                claim,
                "progress",
                None,
                lambda claim: self._store.update_job_progress(
                    claim.job_id, message="half", fence=claim.fence
                ),
            )

    def _end(
        self,
        claim: Claim,
        verb: str,
        value: str | None,
        write: Callable[[Claim], JobUpdateStatus],
    ) -> None:
        facts: dict[str, Any] = {**_of(claim), "verb": verb, "value": value}
        began = time.monotonic_ns()
        self._log.write("writing", began, **facts)
        with self._unavailable_is_logged(verb):
            answer = write(claim)
            self._log.write("written", answer=answer.value, began=began, **facts)

    def _cancel(self) -> None:
        # One that is running, or any: most of those are waiting, or over.
        running = [claim.job_id for claim in self._owned]
        anyone = job_id(self._chance.randrange(self._jobs))
        which = self._chance.choice([anyone, *running[:1]])
        self._log.write("canceling", job=which)
        with self._unavailable_is_logged("cancel"):
            with contextlib.suppress(JobTerminalStateUpdateException):
                self._store.cancel_job(which)
                self._log.write("canceled", job=which)

    def _lead(self) -> None:
        now = time.monotonic_ns()
        if now < self._lead_at:
            return
        self._lead_at = now + int(_LEAD_EVERY * SECOND)
        with self._unavailable_is_logged("lead"):
            if self._term is None or not self._store.renew_scheduler_lease(self._term, 2):
                self._term = self._store.acquire_scheduler_lease("scheduler", self._name, 2)
            if self._term is None:
                return
            self._store.sweep(self._term)
            # Whoever ran these has stopped by its own clock, or is dead.
            for candidate in self._store.recovery_candidates():
                self._store.requeue(candidate, self._term, max_recoveries=1_000_000)

    @contextlib.contextmanager
    def _unavailable_is_logged(self, verb: str) -> Iterator[None]:
        try:
            yield
        except JobStoreUnavailable as error:
            self._log.write("unavailable", verb=verb, problem=str(error))


def _live_until(asked: int) -> int:
    return asked + int((LEASE_SECONDS - MARGIN_SECONDS) * SECOND)


def _of(claim: Claim) -> dict[str, Any]:
    return {"job": claim.job_id, "fence": claim.fence}
