"""A fleet of replicas under load and under attack; `fleet_audit` judges what it leaves.

    python -m dev.chaos.fleet --database postgresql --minutes 10 --seed 7

The database is one of its own that is started for the run, the replicas are runner processes as
`mlflow server` starts them, and the faults come from a schedule that is drawn from the seed.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy

from dev.build.project import ROOT
from dev.chaos import effects, faults, fleet_audit, fleet_jobs_path
from dev.chaos.attack import Attack
from dev.chaos.effects import EffectLog
from dev.chaos.findings import Findings
from dev.chaos.history import READY
from dev.chaos.replica import Replica
from dev.chaos.report import print_findings
from dev.chaos.surroundings import KINDS, Surroundings, surroundings
from dev.serving import clean_environment

LEASE_SECONDS = 5.0
REPLICAS = {"postgresql": 3, "mariadb": 3, "sqlite": 2}
MAX_RETRIES = 3

_SETTINGS = {
    "MLFLOW_SERVER_JOB_LEASE_TTL": str(LEASE_SECONDS),
    "MLFLOW_SERVER_SCHEDULER_LEASE_TTL": "3",
    "MLFLOW_SERVER_JOB_POLL_INTERVAL": "0.5",
    "MLFLOW_SERVER_JOB_DRAIN_GRACE": "1",
    "MLFLOW_SERVER_JOB_TRANSIENT_ERROR_RETRY_BASE_DELAY": "0.2",
    "MLFLOW_SERVER_JOB_TRANSIENT_ERROR_RETRY_MAX_DELAY": "1",
}
_LOOK_SECONDS = 0.05
_AGAIN_SECONDS = 0.3
_STOP_SECONDS = 60.0


class FleetFailed(RuntimeError):
    """The run itself did not work, whatever the jobs did."""


@dataclass
class Run:
    """What a run did, and what it left.

    Attributes:
        kind: The kind of database.
        seed: What it was drawn from.
        seconds: How long it took.
        finished: Whether every job came to its end in time.
        left_behind: Replicas that did not stop in order, or left processes.
        unavailable: The faults that this host does not allow, and why.
        findings: What the audit says.
    """

    kind: str
    seed: int
    seconds: float = 0.0
    finished: bool = False
    left_behind: list[str] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)


def run(
    kind: str,
    folder: Path,
    seconds: float,
    seed: int,
    *,
    rate: float = 3.0,
    poisons: int = 1,
    max_retries: int = MAX_RETRIES,
    patience: float = 240.0,
    only: list[str] | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Run:
    """Attack a fleet for so many seconds, let it come to its end, and audit it.

    Args:
        kind: The kind of database.
        folder: An empty folder for all that the run writes.
        seconds: How long there are faults, unless replicas take longer to come back.
        seed: What the load and the faults are drawn from.
        rate: Jobs per second.
        poisons: Jobs that kill each runner that they meet.
        max_retries: How often a job may be begun again after a crash, and after a failure.
        patience: How many seconds after the last fault the rest may take.
        only: The faults to inject; all that are possible unless given.
        progress: Told what happens, a line at a time.

    Raises:
        NotStarted: There is no database server to be had.
        FleetFailed: The load or a replica could not be started.
    """
    began = time.monotonic()
    log_folder = folder / "effects"
    log_folder.mkdir(parents=True)
    with surroundings(kind, REPLICAS[kind], folder) as around:
        done = Run(kind, seed, unavailable=around.unavailable)
        kinds = [
            each
            for each in faults.possible(kind, around.unavailable)
            if only is None or each in only
        ]
        plan = faults.schedule(kinds, REPLICAS[kind], seconds, seed) if kinds else []
        options = {"rate": rate, "poisons": poisons, "max-retries": max_retries, "seed": seed}
        with _load(around.uri, log_folder, options) as load:
            fleet = _Fleet(around, folder, EffectLog(log_folder), max_retries, progress)
            try:
                fleet.start(patience)
                load.stdin.write(b"go\n")
                load.stdin.flush()
                fleet.attack(plan, seconds)
                load.stdin.close()
                done.finished = fleet.come_to_an_end(load, patience)
                if done.finished:
                    done.left_behind = fleet.stop()
            finally:
                fleet.kill()
        done.findings = fleet_audit.audit(
            fleet_audit.read_database(around.uri), [*effects.read(log_folder)], max_retries
        )
    done.seconds = time.monotonic() - began
    return done


def show(done: Run) -> None:
    """Print the run as one table, and below it every broken promise."""
    print_findings(
        done.findings,
        f"{done.kind}, seed {done.seed}",
        ("replicas", f"{REPLICAS[done.kind]}, with leases of {LEASE_SECONDS:g} s"),
        ("took", f"{done.seconds:.0f} s, {'finished' if done.finished else 'NOT FINISHED'}"),
        ("not injected here", "; ".join(map(": ".join, done.unavailable.items())) or "-"),
        ("did not stop in order", ", ".join(done.left_behind) or "-"),
    )


class _Fleet:
    def __init__(
        self,
        around: Surroundings,
        folder: Path,
        log: EffectLog,
        max_retries: int,
        progress: Callable[[str], None],
    ) -> None:
        self._progress = progress
        self._began = time.monotonic()
        clocks = around.clocks or [{}] * len(around.uris)
        settings = {
            **_SETTINGS,
            "MLFLOW_SERVER_JOB_TRANSIENT_ERROR_MAX_RETRIES": str(max_retries),
        }
        self._replicas = [
            Replica(f"replica-{number}", uri, folder, {**settings, **clock})
            for number, (uri, clock) in enumerate(zip(around.uris, clocks, strict=True))
        ]
        self._attack = Attack(self._replicas, around, log, LEASE_SECONDS)
        log.calibrate()
        self._engine = sqlalchemy.create_engine(around.uri, poolclass=sqlalchemy.pool.NullPool)

    def start(self, patience: float) -> None:
        for replica in self._replicas:
            replica.start()
        deadline = time.monotonic() + patience
        while not all(replica.is_ready for replica in self._replicas):
            dead = [replica for replica in self._replicas if not replica.is_alive]
            if dead or time.monotonic() > deadline:
                late = dead or [each for each in self._replicas if not each.is_ready]
                raise FleetFailed(f"{late[0].name} did not start:\n{late[0].log.read_text()}")
            time.sleep(_LOOK_SECONDS)
        self._say("All replicas are up.")

    def attack(self, plan: list[faults.Fault], seconds: float) -> None:
        began = time.monotonic()
        waiting = deque(plan)
        look_at = 0.0
        # A fault that no replica is free for by then is left out, and missing in the table.
        last_call = began + seconds * 3 + LEASE_SECONDS * 4
        while time.monotonic() < (last_call if waiting else began + seconds):
            self._attack.look()
            now = time.monotonic()
            if waiting and now >= max(began + waiting[0].at, look_at):
                if self._attack.inject(waiting[0]):
                    self._say(waiting.popleft().kind)
                else:
                    # Another one may be possible.
                    waiting.rotate(-1)
                    look_at = now + _AGAIN_SECONDS
            time.sleep(_LOOK_SECONDS)

    def come_to_an_end(self, load: subprocess.Popen, patience: float) -> bool:
        deadline = time.monotonic() + patience
        last = None
        while time.monotonic() < deadline:
            is_over = self._attack.is_over
            unfinished = self._unfinished()
            if unfinished != last:
                self._say(f"{unfinished} jobs are unfinished.")
                last = unfinished
            if is_over and unfinished == 0 and load.poll() is not None:
                if load.returncode != 0:
                    raise FleetFailed(f"The load ended with {load.returncode}.")
                return True
            time.sleep(_LOOK_SECONDS * 4)
        return False

    def stop(self) -> list[str]:
        return [each.name for each in self._replicas if not each.stop(_STOP_SECONDS)]

    def kill(self) -> None:
        for replica in self._replicas:
            replica.kill()

    def _unfinished(self) -> int | None:
        count = sqlalchemy.text("SELECT count(*) FROM jobs WHERE status IN (0, 1, 6)")
        try:
            with self._engine.connect() as connection:
                return connection.execute(count).scalar_one()
        except sqlalchemy.exc.DBAPIError:
            return None

    def _say(self, line: str) -> None:
        self._progress(f"{time.monotonic() - self._began:6.1f} s  {line}")


@contextmanager
def _load(uri: str, log_folder: Path, options: dict[str, float]) -> Iterator[subprocess.Popen]:
    command = [
        *(sys.executable, "-m", "dev.chaos.load", "--database", uri),
        *("--effects", str(log_folder)),
        *(word for name, value in options.items() for word in (f"--{name}", str(value))),
    ]
    load = subprocess.Popen(
        command,
        cwd=ROOT,
        env=clean_environment(fleet_jobs_path.served(uri)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        if READY.encode() not in load.stdout.readline():
            raise FleetFailed("The load could not make the tables.")
        yield load
    finally:
        load.kill()
        load.wait()
        load.stdin.close()
        load.stdout.close()


def main() -> int:
    """Prints the table; returns 1 when a promise was broken."""
    parser = argparse.ArgumentParser(
        prog="python -m dev.chaos.fleet", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--database", choices=KINDS, default="postgresql")
    parser.add_argument("--minutes", type=float, default=2.0, help="how long there are faults (2)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=3.0, help="jobs per second (3)")
    parser.add_argument("--poisons", type=int, default=1, help="jobs that kill their runners (1)")
    parser.add_argument("--only", nargs="+", help="inject these faults alone")
    parser.add_argument("--keep", type=Path, help="an empty folder to keep logs and effects in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlflow-chaos-") as scratch:
        done = run(
            options.database,
            (options.keep or Path(scratch)).resolve(),
            options.minutes * 60,
            options.seed,
            rate=options.rate,
            poisons=options.poisons,
            only=options.only,
            progress=lambda line: print(line, flush=True),
        )
    show(done)
    kept = done.finished and not done.left_behind and not done.findings.broken
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
