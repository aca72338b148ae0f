"""Judge a fleet's run by nothing but its database, with the history there, and its effect log.

    python -m dev.chaos.fleet_audit --database URI --effects FOLDER

Like `audit` it shares no code with the store. What it says of each kind:

- lost: a job that was accepted and is not there, or has not ended;
- doubled: an end after an end, or two attempts under one fence;
- overlapping: work on one job, or under one key, by two attempts at once;
- stale: something in a row that an attempt wrote which the row was not under any more;
- late: work that went on after its job had been taken from it by recovery;
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

import sqlalchemy

from dev.chaos import effects
from dev.chaos.audit import CANCELED, FAILED, NOT_RUN, SUCCEEDED, TERMINAL, Effect, overlaps
from dev.chaos.findings import Findings
from dev.chaos.history import TABLE
from dev.chaos.report import print_findings

PENDING, RUNNING, NEEDS_RECOVERY = 0, 1, 6

# Jobs that cannot end well.
_DOOMED = {"chaos_crashing", "chaos_poison"}
# Recoveries after which a job may have been set aside.
_SET_ASIDE_AFTER = 3
# The history's clock is the database's, and the effect log's that of the host's uptime.
_CLOCKS_DIFFER_MS = 150
_TAKES_A_RUNNER = {"kill-runner", "kill-replica", "pause-runner", "hang", "hang-then-reset"}
_BY_ITSELF = "killed by its job or watchdog"
_MESSAGE = re.compile(r"fence (\d+)")


@dataclass(frozen=True)
class Job:
    """What the database says of a job in the end."""

    job: str
    name: str
    status: int
    fence: int
    result: str | None
    key: str | None


@dataclass(frozen=True)
class Change:
    """One change of a row, as the database wrote it down."""

    job: str
    at_ms: int
    old_status: int
    status: int
    old_fence: int
    fence: int
    claimed_by: str | None
    result: str | None
    status_message: str | None


def read_database(uri: str) -> tuple[list[Job], list[Change]]:
    """All jobs, and all that was done to them, oldest first."""
    engine = sqlalchemy.create_engine(uri)
    jobs = "SELECT id, job_name, status, fence, result, lock_key FROM jobs"
    changes = (
        "SELECT job, at_ms, old_status, status, old_fence, fence, claimed_by, result, "
        f"status_message FROM {TABLE} ORDER BY seq"
    )
    try:
        with engine.connect() as connection:
            return (
                [Job(*row) for row in connection.execute(sqlalchemy.text(jobs))],
                [Change(*row) for row in connection.execute(sqlalchemy.text(changes))],
            )
    finally:
        engine.dispose()


def audit(database: tuple[list[Job], list[Change]], log: list[Effect]) -> Findings:
    """What the database and the log say, put together."""
    jobs = {job.job: job for job in database[0]}
    history: dict[str, list[Change]] = defaultdict(list)
    for change in database[1]:
        history[change.job].append(change)
    done: dict[str, list[Effect]] = defaultdict(list)
    for effect in sorted(log, key=lambda each: each["at"]):
        done[effect.get("job", "")].append(effect)
    kills = _kills(done[""], log)

    found = Findings()
    found.problems["lost"] += _lost(jobs, done)
    found.problems["overlapping"] += overlaps(done)
    for job in jobs.values():
        changes, effects_of_job = history[job.job], done[job.job]
        found.problems["doubled"] += _doubled(changes, effects_of_job)
        found.problems["stale"] += _stale(changes)
        found.problems["late"] += _late(changes, effects_of_job, _monotonic_offset_ms(done[""]))
        found.problems["unexplained"] += _unexplained(job, changes, effects_of_job, kills)
        found.jobs[job.name, job.status] += 1
        found.set_aside += job.status == FAILED and _was_set_aside(job, changes)
    found.faults.update(each["kind"] for each in done[""] if each["what"] == "fault")
    found.attempts = sum(each["what"] == "started" for each in log)
    for way, time_ms in sorted(_recoveries(history, done[""])):
        found.recoveries_ms.setdefault(way, []).append(time_ms)
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


def _late(changes: list[Change], done: list[Effect], offset_ms: int) -> Iterator[str]:
    taken = {
        change.old_fence: change.at_ms
        for change in changes
        if change.old_status == NEEDS_RECOVERY and change.status in (PENDING, FAILED)
    }
    latest: dict[int, int] = {}
    for each in done:
        if each["what"] in ("started", "worked", "ended"):
            at_ms = each["at"] // 1_000_000 + offset_ms
            latest[each["fence"]] = max(at_ms, latest.get(each["fence"], at_ms))
    for fence, at_ms in taken.items():
        late = latest.get(fence, at_ms) - at_ms
        if late > _CLOCKS_DIFFER_MS:
            yield f"{changes[0].job}: fence {fence} worked {late} ms after its recovery."


def _unexplained(
    job: Job, changes: list[Change], done: list[Effect], kills: "_Kills"
) -> Iterator[str]:
    told = {each["what"] for each in done}
    if "submitting" not in told:
        yield f"{job.job} was submitted by nobody."
    if "canceled" in told and job.status != CANCELED:
        yield f"{job.job} was canceled, and its status is {job.status}."
    match job.status:
        case 2:
            ends = {(each["fence"], each["pid"]) for each in done if each["what"] == "ended"}
            if (job.fence, _pid_of(job.result)) not in ends or job.name in _DOOMED:
                yield f"{job.job} has a success that no attempt had: {job.result}."
        case 3:
            explained = _was_killed(changes, done, kills) or _was_set_aside(job, changes)
            if job.name not in _DOOMED and not explained:
                yield f"{job.job} ({job.name}) failed: {job.result}"
        case 5:
            not_run = (job.result or "").startswith(NOT_RUN) and job.key is not None
            if "canceling" not in told and not not_run:
                yield f"{job.job} is canceled, and nobody canceled it."
        case 4:
            yield f"{job.job} timed out, and has no timeout."


def _was_set_aside(job: Job, changes: list[Change]) -> bool:
    recoveries = sum(change.status == NEEDS_RECOVERY for change in changes)
    return job.status == FAILED and recoveries >= _SET_ASIDE_AFTER


def _recoveries(history: dict[str, list[Change]], told: list[Effect]) -> Iterator[tuple[str, int]]:
    """From the moment at which its runner was taken until a job was free, or had ended."""
    taken: dict[int, tuple[str, int]] = {}
    for each in told:
        if each["what"] == "fault" and each["kind"] in _TAKES_A_RUNNER:
            taken.setdefault(each["pids"][0], (each["kind"], each["ms"]))
        elif each["what"] == "ended runner" and each["code"] != 0:
            taken.setdefault(each["pid"], (_BY_ITSELF, each["ms"]))
    for changes in history.values():
        for pid, (way, at_ms) in taken.items():
            before = [change for change in changes if change.at_ms <= at_ms]
            if not before or before[-1].status != RUNNING:
                continue
            if f":{pid}:" not in (before[-1].claimed_by or ""):
                continue
            after = (change for change in changes[len(before) :] if _is_free(change))
            if (free := next(after, None)) is not None:
                yield way, free.at_ms - at_ms


def _is_free(change: Change) -> bool:
    return change.status not in (RUNNING, NEEDS_RECOVERY)


def _monotonic_offset_ms(told: list[Effect]) -> int:
    for each in told:
        if each["what"] == "calibrated":
            return each["ms"] - each["at"] // 1_000_000
    return 0


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
    options = parser.parse_args()
    found = audit(read_database(options.database), [*effects.read(options.effects)])
    print_findings(found, options.database)
    return 1 if found.broken else 0


if __name__ == "__main__":
    sys.exit(main())
