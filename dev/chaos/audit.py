"""Judge a run by nothing but its database and its effect log.

    python -m dev.chaos.audit --database URI --effects FOLDER --jobs 50000

It shares no code with the store: it reads the two tables by their columns, and knows the states by
their numbers. Everything that it says it found is a broken promise.
"""

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy

from dev.chaos import effects
from dev.chaos.effects import Effect

SUCCEEDED, FAILED, CANCELED = 2, 3, 5
TERMINAL = {SUCCEEDED, FAILED, 4, CANCELED}
ENDS_AS = {"succeed": SUCCEEDED, "fail": FAILED}
NOT_RUN = "Not run:"


@dataclass(frozen=True)
class Row:
    """What the database says of a job in the end."""

    job: str
    status: int
    fence: int
    result: str | None
    retries: int
    key: str | None


def read_rows(uri: str) -> list[Row]:
    """All jobs of the database."""
    engine = sqlalchemy.create_engine(uri)
    text = "SELECT id, status, fence, result, retry_count, lock_key FROM jobs"
    try:
        with engine.connect() as connection:
            return [Row(*row) for row in connection.execute(sqlalchemy.text(text))]
    finally:
        engine.dispose()


def audit(rows: Iterable[Row], log: Iterable[Effect], jobs: int) -> list[str]:
    """Every promise that was broken, as a sentence."""
    by_job = effects.by_job(log)
    rows = {row.job: row for row in rows}
    return [
        *_missing(rows, jobs),
        *(problem for row in rows.values() for problem in _ending(row, by_job[row.job])),
        *(problem for job, done in by_job.items() if job for problem in _writes(job, done)),
        *overlaps(by_job),
    ]


def _missing(rows: dict[str, Row], jobs: int) -> Iterator[str]:
    if len(rows) != jobs:
        yield f"There are {len(rows)} jobs, not {jobs}."
    for row in rows.values():
        if row.status not in TERMINAL:
            yield f"{row.job} is not terminal: its status is {row.status}."


def _ending(row: Row, done: list[Effect]) -> Iterator[str]:
    """The row ended once, and as the one who ended it meant it to."""
    applied = {
        (each["fence"], each["verb"], each["value"])
        for each in done
        if each["what"] == "written" and each["answer"] == "APPLIED" and each["verb"] in ENDS_AS
    }
    meant = {
        (each["fence"], ENDS_AS[each["verb"]], each["value"])
        for each in done
        if each["what"] == "writing" and each["verb"] in ENDS_AS
    }
    canceled = any(each["what"] == "canceled" for each in done)
    if len(applied) + canceled > 1:
        yield f"{row.job} ended more than once: {sorted(applied)}, canceled: {canceled}."
    for fence, verb, value in applied:
        if (fence, ENDS_AS[verb], value) != (row.fence, row.status, row.result):
            yield f"{row.job} was ended by {verb} under fence {fence}, and its row says otherwise."
    if canceled and row.status != CANCELED:
        yield f"{row.job} was canceled, and its row says otherwise."
    if row.status in (SUCCEEDED, FAILED) and (row.fence, row.status, row.result) not in meant:
        yield f"{row.job} has an end that nobody wrote."
    if row.status == CANCELED and not _explained(row, done):
        yield f"{row.job} is canceled, and nobody canceled it."
    retries = [each for each in done if each.get("verb") == "retry"]
    least = sum(each["what"] == "written" and each["answer"] == "APPLIED" for each in retries)
    most = sum(each["what"] == "writing" for each in retries)
    if not least <= row.retries <= most:
        yield f"{row.job} counts {row.retries} retries; {least} were applied, {most} were tried."


def _explained(row: Row, done: list[Effect]) -> bool:
    if row.result is not None:
        return row.result.startswith(NOT_RUN) and row.key is not None
    return any(each["what"] == "canceling" for each in done)


def _writes(job: str, done: list[Effect]) -> Iterator[str]:
    """Each fence has one owner, and an owner writes nothing once a later one is there."""
    claimed = [each for each in done if each["what"] == "claimed"]
    for fence, times in Counter(each["fence"] for each in claimed).items():
        if times > 1:
            yield f"{job} was claimed {times} times under fence {fence}."
    fences = [each["fence"] for each in claimed]
    if fences != sorted(fences):
        yield f"{job} was claimed under falling fences: {fences}."
    for each in done:
        if each["what"] != "written" or each["answer"] != "APPLIED":
            continue
        later = [
            claim
            for claim in claimed
            if claim["fence"] > each["fence"] and claim["at"] < each["began"]
        ]
        if later:
            yield (
                f"{job} has a stale write: {each['verb']} under fence {each['fence']} was applied "
                f"after a claim under fence {later[0]['fence']}."
            )


def overlaps(by_job: dict[str, list[Effect]]) -> Iterator[str]:
    """Work on one job, or under one key, never has two owners at once."""
    spans: dict[tuple[str, int], tuple[int, int, str | None]] = {}
    for job, done in by_job.items():
        for each in done:
            if each["what"] in ("started", "worked"):
                owner = (job, each["fence"])
                first, last, _ = spans.get(owner, (each["at"], each["at"], None))
                spans[owner] = (min(first, each["at"]), max(last, each["at"]), each["key"])
    groups = defaultdict(list)
    for owner, (first, last, key) in spans.items():
        groups[f"job {owner[0]}"].append((first, last, owner))
        if key is not None:
            groups[f"key {key}"].append((first, last, owner))
    for name, members in groups.items():
        end, holder = -1, None
        for first, last, owner in sorted(members):
            if first <= end:
                yield f"{name}: {owner} worked while {holder} still did."
            if last > end:
                end, holder = last, owner


def counts(rows: Iterable[Row], log: Iterable[Effect]) -> dict[str, int]:
    """What happened, for whoever wants to know that the run was not an idle one."""
    kinds = Counter[str]()
    for effect in log:
        name = effect["what"]
        if name == "written":
            name = f"{effect['verb']}: {effect['answer']}"
        kinds[name] += 1
    for row in rows:
        kinds[f"rows in status {row.status}"] += 1
        kinds["rows that lost their lock"] += (row.result or "").startswith(NOT_RUN)
    return dict(sorted(kinds.items()))


def main() -> int:
    """Prints what happened and what is wrong; returns 1 if anything is."""
    parser = argparse.ArgumentParser(
        prog="python -m dev.chaos.audit", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--database", required=True, help="URI of the database")
    parser.add_argument("--effects", type=Path, required=True, help="folder of the effect logs")
    parser.add_argument("--jobs", type=int, required=True, help="how many jobs there have to be")
    options = parser.parse_args()
    rows, log = read_rows(options.database), list(effects.read(options.effects))
    for name, count in counts(rows, log).items():
        print(f"{count:>9}  {name}")
    problems = audit(rows, log, options.jobs)
    for problem in problems[:50]:
        print(problem)
    print(f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
