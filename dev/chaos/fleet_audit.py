"""Judge a fleet's run by nothing but its database, with the history there, and its effect log.

    python -m dev.chaos.fleet_audit --database URI --effects FOLDER

Like `audit` it shares no code with the store. What it says of each kind:

- lost: a job that was accepted and is not there, or has not ended;
- doubled: an end after an end, or two attempts under one fence;
- overlapping: work on one job, or under one key, by two attempts at once;
- stale: something in a row that an attempt wrote which the row was not under any more;
- late: work that went on after its job had been taken from it by recovery;
- repeated: a job that was begun again after it had crashed as often as it may;
- blamed: a job that was given up and is no poison, and once it had crashed more than half as often
  as it may, it was on one runner with a poison that had as well;
- unexplained: an end that nothing in the log accounts for.
"""

import argparse
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy

from dev.chaos import effects, history
from dev.chaos.audit import CANCELED, FAILED, NOT_RUN, SUCCEEDED, TERMINAL, overlaps
from dev.chaos.effects import Effect, wall_ms
from dev.chaos.findings import Findings
from dev.chaos.history import Change, Leading
from dev.chaos.recoveries import NEEDS_RECOVERY, PENDING, RUNNING, recoveries
from dev.chaos.report import print_findings

# Jobs that cannot end well.
_POISON = "chaos_poison"
_DOOMED = {"chaos_crashing", _POISON}
# The history's clock is the database's, and the effect log's that of the host's uptime.
_CLOCKS_DIFFER_MS = 150
_MESSAGE = re.compile(r"fence (\d+)")


@dataclass(frozen=True)
class Job:
    """What the database says of a job in the end.

    Attributes:
        recoveries: How often it crashed, by its own count.
        crashes: Of how many of these there is a history.
    """

    job: str
    name: str
    status: int
    fence: int
    result: str | None
    key: str | None
    recoveries: int = 0
    crashes: int = 0


@dataclass(frozen=True)
class Left:
    """What a run left in its database.

    Attributes:
        jobs: All of them.
        changes: What was done to them, oldest first.
        leaders: Who began to lead, oldest first.
    """

    jobs: list[Job]
    changes: list[Change]
    leaders: list[Leading]


def read_database(uri: str) -> Left:
    """All that a run left there."""
    engine = sqlalchemy.create_engine(uri)
    jobs = "SELECT id, job_name, status, fence, result, lock_key, recovery_count, crashes FROM jobs"
    try:
        with engine.connect() as connection:
            rows = connection.execute(sqlalchemy.text(jobs)).all()
        return Left([Job(*row[:-1], _length(row.crashes)) for row in rows], *history.read(engine))
    finally:
        engine.dispose()


def audit(left: Left, log: list[Effect], max_retries: int) -> Findings:
    """What the database and the log say, put together.

    Args:
        left: The database.
        log: The effects, in any order.
        max_retries: How often a job that crashed may be begun again.
    """
    jobs = {job.job: job for job in left.jobs}
    changes_of: dict[str, list[Change]] = defaultdict(list)
    for change in left.changes:
        changes_of[change.job].append(change)
    done = effects.by_job(log)
    kills = _kills(done[""], log)
    poisoned = _poisoned(changes_of, log, max_retries)

    found = Findings()
    found.problems["lost"] += _lost(jobs, done)
    found.problems["overlapping"] += overlaps(done)
    for job in jobs.values():
        changes, effects_of_job = changes_of[job.job], done[job.job]
        found.problems["doubled"] += _doubled(changes, effects_of_job)
        found.problems["stale"] += _stale(changes)
        found.problems["late"] += _late(changes, effects_of_job, done[""])
        found.problems["repeated"] += _repeated(job, changes, effects_of_job, max_retries)
        found.problems["blamed"] += _blamed(job, changes, poisoned, max_retries)
        found.problems["unexplained"] += _unexplained(
            job, changes, effects_of_job, kills, max_retries
        )
        found.jobs[job.name, job.status] += 1
        found.set_aside += _was_set_aside(job, max_retries)
    found.faults.update(each["kind"] for each in done[""] if each["what"] == "fault")
    found.attempts = sum(each["what"] == "started" for each in log)
    found.recoveries = [*recoveries(changes_of, left.leaders, done)]
    return found


@dataclass(frozen=True)
class _Kills:
    """Kills of single jobs: those of processes that had told their job, and when others were."""

    pids: frozenset[int]
    before_they_told_ms: tuple[int, ...]


def _kills(told: list[Effect], log: list[Effect]) -> _Kills:
    began = {each["pid"] for each in log if each["what"] == "started"}
    killed = [each for each in told if each["what"] == "fault" and each["kind"] == "kill-job"]
    return _Kills(
        frozenset(pid for each in killed for pid in each["pids"] if pid in began),
        tuple(each["ms"] for each in killed for pid in each["pids"] if pid not in began),
    )


def _was_killed(changes: list[Change], done: list[Effect], kills: _Kills) -> bool:
    if kills.pids.intersection(each.get("pid") for each in done):
        return True
    first, last = changes[0].at_ms - _CLOCKS_DIFFER_MS, changes[-1].at_ms + _CLOCKS_DIFFER_MS
    return any(first <= at_ms <= last for at_ms in kills.before_they_told_ms)


def _lost(jobs: dict[str, Job], done: dict[str, list[Effect]]) -> Iterator[str]:
    for job, effects_of_job in done.items():
        if job not in jobs and any(each["what"] == "submitted" for each in effects_of_job):
            yield f"{job} was accepted and is not there."
    for job in jobs.values():
        if job.status not in TERMINAL:
            yield f"{job.job} has not ended: its status is {job.status}."


def _doubled(changes: list[Change], done: list[Effect]) -> Iterator[str]:
    for change in changes:
        if change.old_status in TERMINAL and change.status != change.old_status:
            yield f"{change.job} went from {change.old_status} to {change.status}."
    attempts = Counter(each["fence"] for each in done if each["what"] == "started")
    for fence, times in attempts.items():
        if times > 1:
            yield f"{done[0]['job']} was begun {times} times under fence {fence}."


def _stale(changes: list[Change]) -> Iterator[str]:
    for change in changes:
        if change.fence < change.old_fence:
            yield f"{change.job}: its fence fell from {change.old_fence} to {change.fence}."
        if change.status == SUCCEEDED and change.old_status != SUCCEEDED:
            fence = _fence_of(change.result)
            if fence != change.fence:
                yield f"{change.job} under fence {change.fence} got the result of {fence}."
        message = _MESSAGE.fullmatch(change.status_message or "")
        if message and int(message[1]) != change.fence:
            yield f"{change.job} under fence {change.fence} got the progress of {message[1]}."


def _late(changes: list[Change], done: list[Effect], told: list[Effect]) -> Iterator[str]:
    taken = {
        change.old_fence: change.at_ms
        for change in changes
        if change.old_status == NEEDS_RECOVERY and change.status in (PENDING, FAILED)
    }
    latest: dict[int, int] = {}
    for each in done:
        if each["what"] in ("started", "worked", "ended"):
            at_ms = wall_ms(each, told)
            latest[each["fence"]] = max(at_ms, latest.get(each["fence"], at_ms))
    for fence, at_ms in taken.items():
        late = latest.get(fence, at_ms) - at_ms
        if late > _CLOCKS_DIFFER_MS:
            yield f"{changes[0].job}: fence {fence} worked {late} ms after its recovery."


def _repeated(
    job: Job, changes: list[Change], done: list[Effect], max_retries: int
) -> Iterator[str]:
    told = Counter(each["what"] for each in done)
    if told["poisoning"] > max_retries + 1:
        yield f"{job.job} was let to kill {told['poisoning']} runners."
    if job.recoveries > max_retries + 1:
        yield f"{job.job} was recovered, or given up, {job.recoveries} times."
    taken = sum(change.status == NEEDS_RECOVERY for change in changes)
    if told["crashing"] > taken + 1:
        yield f"{job.job} crashed {told['crashing']} times, and was taken from a runner {taken}."


def _blamed(
    job: Job, changes: list[Change], poisoned: set[int | None], max_retries: int
) -> Iterator[str]:
    if job.name == _POISON or not _was_set_aside(job, max_retries):
        return
    suspicious = _suspicious(changes, max_retries)
    for change in changes:
        if (
            change.status == NEEDS_RECOVERY
            and change.runner in poisoned
            and change.fence in suspicious
        ):
            yield f"{job.job} was set aside, and crash {change.crashes + 1} was a poison's."


def _poisoned(
    changes_of: dict[str, list[Change]], log: list[Effect], max_retries: int
) -> set[int | None]:
    """The runners that were killed by a poison which had crashed often enough to be known."""
    kills = {(each["job"], each["fence"]) for each in log if each["what"] == "poisoning"}
    suspicious = {job: _suspicious(changes_of[job], max_retries) for job, _ in kills}
    return {
        change.runner
        for job, fence in kills
        for change in changes_of[job]
        if (change.status, change.fence) == (RUNNING, fence) and fence in suspicious[job]
    }


def _suspicious(changes: list[Change], max_retries: int) -> set[int]:
    """The fences of a job's attempts after more than half of the crashes that it may have.

    Attempts that follow an orderly failure are left out, until the next crash.
    """
    fences, crashes, is_cleared = set(), 0, False
    for change in changes:
        if change.crashes > crashes:
            crashes, is_cleared = change.crashes, False
        elif (change.old_status, change.status) == (RUNNING, PENDING):
            is_cleared = True
        if change.status == RUNNING and not is_cleared and crashes * 2 > max_retries:
            fences.add(change.fence)
    return fences


def _unexplained(
    job: Job, changes: list[Change], done: list[Effect], kills: "_Kills", max_retries: int
) -> Iterator[str]:
    told = {each["what"] for each in done}
    if not told & {"submitting", "resubmitted"}:
        yield f"{job.job} was submitted by nobody."
    if "resubmitted" in told and job.status != SUCCEEDED:
        yield f"{job.job} was set aside, cured and submitted again, and its status is {job.status}."
    if "canceled" in told and job.status != CANCELED:
        yield f"{job.job} was canceled, and its status is {job.status}."
    match job.status:
        case 2:
            ends = {(each["fence"], each["pid"]) for each in done if each["what"] == "ended"}
            is_doomed = job.name in _DOOMED and "resubmitted" not in told
            if (job.fence, _pid_of(job.result)) not in ends or is_doomed:
                yield f"{job.job} has a success that no attempt had: {job.result}."
        case 3:
            aside = _was_set_aside(job, max_retries)
            if aside and job.crashes != job.recoveries:
                yield f"{job.job} crashed {job.recoveries} times, and shows {job.crashes} of them."
            own_way = "crashing" in told or (job.name == _POISON and aside)
            if not (own_way or aside or _was_killed(changes, done, kills)):
                yield f"{job.job} ({job.name}) failed: {job.result}"
        case 5:
            not_run = (job.result or "").startswith(NOT_RUN) and job.key is not None
            if "canceling" not in told and not not_run:
                yield f"{job.job} is canceled, and nobody canceled it."
        case 4:
            yield f"{job.job} timed out, and has no timeout."


def _was_set_aside(job: Job, max_retries: int) -> bool:
    return job.status == FAILED and job.recoveries > max_retries


def _length(crashes: Any) -> int:
    # A driver may read JSON by itself.
    return len((json.loads(crashes) if isinstance(crashes, str) else crashes) or [])


def _fence_of(result: str | None) -> int | None:
    return (json.loads(result) or {}).get("fence") if result else None


def _pid_of(result: str | None) -> int | None:
    return (json.loads(result) or {}).get("pid") if result else None


def main() -> int:
    """Prints what happened and what is wrong; returns 1 if anything is."""
    parser = argparse.ArgumentParser(
        prog="python -m dev.chaos.fleet_audit", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--database", required=True, help="URI of the database")
    parser.add_argument("--effects", type=Path, required=True, help="folder of the effect logs")
    parser.add_argument(
        "--max-retries", type=int, default=3, help="how often a job may crash and go on (3)"
    )
    options = parser.parse_args()
    found = audit(
        read_database(options.database), [*effects.read(options.effects)], options.max_retries
    )
    print_findings(found, options.database)
    return 1 if found.broken else 0


if __name__ == "__main__":
    sys.exit(main())
