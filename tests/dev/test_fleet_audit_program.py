"""The audit as a program of its own, on real databases in which promises were broken by hand."""

import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import sqlalchemy

from dev.build.project import ROOT
from dev.chaos import history
from dev.chaos.effects import EffectLog
from dev.chaos.findings import KINDS as PROMISES
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from tests.store.jobs.real_databases import KINDS, fresh_database

PENDING, RUNNING, SUCCEEDED, FAILED, NEEDS_RECOVERY = 0, 1, 2, 3, 6
MAX_RETRIES = 2
CHILD = 700
SECOND = 1_000_000_000


@pytest.fixture(scope="module", params=KINDS)
def fleet(request, tmp_path_factory):
    """A database that writes its history, an effect log, and one job that kept all promises."""
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "effects").mkdir()
    with fresh_database(request.param, folder) as uri:
        store = SqlAlchemyJobStore(uri)
        history.install(store.engine)
        log = EffectLog(folder / "effects")
        log.calibrate()
        fleet = SimpleNamespace(uri=uri, store=store, log=log, folder=folder / "effects")
        begin(fleet)
        yield fleet
        store.engine.dispose()


def begin(fleet, name="chaos_plain", *, ends=True, **facts):
    """Submit, claim and run a job, as a fleet would; answers its id."""
    job = fleet.store.create_job(name, "{}").job_id
    for word in ("submitting", "submitted"):
        fleet.log.write(word, job=job)
    [claimed] = fleet.store.claim_batch(
        "host:70:ab", [None], {name: 1}, 60.0, lambda *_: None
    ).claimed
    work(fleet, job, "started", **facts)
    if ends:
        work(fleet, job, "ended", **facts)
        fleet.store.succeed(claimed.claim, json.dumps({"fence": 1, "pid": CHILD}))
    return job


def work(fleet, job, what, fence=1, key=None, at=None):
    fleet.log.write(what, at, job=job, fence=fence, pid=CHILD, key=key)


def change(fleet, job, **columns):
    """Change a row as nobody may."""
    texts = ", ".join(f"{column} = :{column}" for column in columns)
    with fleet.store.engine.begin() as connection:
        statement = sqlalchemy.text(f"UPDATE jobs SET {texts} WHERE id = :job")
        connection.execute(statement, {"job": job, **columns})


def audited(fleet):
    """The exit code, and for each promise how often it was broken, by the table."""
    options = ("--database", fleet.uri, "--effects", fleet.folder)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "dev.chaos.fleet_audit", *map(str, options)),
            *("--max-retries", str(MAX_RETRIES)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    rows = [line.strip("│ ").split("│") for line in done.stdout.splitlines() if "│" in line]
    cells = {name.strip(): value.strip() for name, value in rows}
    return done.returncode, {promise: int(cells[promise]) for promise in PROMISES}


def lose(fleet):
    fleet.log.write("submitted", job="gone")


def end_twice(fleet):
    change(fleet, begin(fleet), status=FAILED)


def work_at_once(fleet):
    jobs = [begin(fleet, "chaos_exclusive", key="same", ends=False) for _ in range(2)]
    for job in jobs:
        work(fleet, job, "worked", key="same")


def write_as_another(fleet):
    result = json.dumps({"fence": 7, "pid": CHILD})
    change(fleet, begin(fleet, ends=False), status=SUCCEEDED, result=result)


def work_on(fleet):
    job = begin(fleet, "chaos_slow", ends=False)
    change(fleet, job, status=NEEDS_RECOVERY)
    change(fleet, job, status=PENDING)
    work(fleet, job, "worked", at=time.monotonic_ns() + SECOND)


def recover_too_often(fleet):
    change(fleet, begin(fleet), recovery_count=MAX_RETRIES + 2)


def blame_a_neighbour(fleet):
    poison, neighbour = begin(fleet, "chaos_poison", ends=False), begin(fleet, ends=False)
    for crashes in range(1, MAX_RETRIES + 2):
        fleet.log.write("poisoning", job=poison, fence=crashes, pid=CHILD)
        for job in (poison, neighbour):
            change(fleet, job, status=NEEDS_RECOVERY)
            change(fleet, job, status=PENDING, recovery_count=crashes)
            runner = f"host:{80 + crashes}:ab"
            change(fleet, job, status=RUNNING, fence=crashes + 1, claimed_by=runner)
    change(fleet, neighbour, status=FAILED)


def submit_as_nobody(fleet):
    fleet.store.create_job("chaos_plain", "{}")


def test_the_program_finds_nothing_wrong_and_then_each_kind_of_broken_promise(fleet):
    assert audited(fleet) == (0, dict.fromkeys(PROMISES, 0))
    broken = {
        "lost": lose,
        "doubled": end_twice,
        "overlapping": work_at_once,
        "stale": write_as_another,
        "late": work_on,
        "repeated": recover_too_often,
        "blamed": blame_a_neighbour,
        "unexplained": submit_as_nobody,
    }
    assert {*broken} == {*PROMISES}
    for break_it in broken.values():
        break_it(fleet)
    code, found = audited(fleet)
    assert code == 1
    assert 0 not in found.values(), found
