"""Let processes work off the jobs of one database while some are killed and some are stopped.

    python -m dev.chaos.claimers --database URI --effects FOLDER --processes 8 --jobs 50000
    python -m dev.chaos.audit --database URI --effects FOLDER --jobs 50000

The database has to be an empty one. What happened is judged by the audit, not here.
"""

import argparse
import multiprocessing
import os
import random
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from dev.chaos.claimer import LEASE_SECONDS, Claimer, fill

# No thread and no connection is in this process, so that forking it is safe.
_PROCESSES = multiprocessing.get_context("fork")


@dataclass
class Summary:
    """What was done to the processes, and whether they got to the end."""

    seconds: float = 0.0
    kills: int = 0
    pauses: int = 0
    finished: bool = False
    crashed: list[int] = field(default_factory=list)


def chaos(
    uri: str, effects: Path, processes: int, jobs: int, seconds: float, patience: float, seed: int
) -> Summary:
    """Run the processes; kill and stop some for so many seconds, then let all come to the end.

    Args:
        uri: An empty database.
        effects: An empty folder for the effect logs.
        processes: How many claim at once.
        jobs: How many jobs there are.
        seconds: How long processes are killed and stopped.
        patience: How many seconds after that the rest may take.
        seed: What the processes do is drawn from it; when they do it is not.
    """
    _in_process(fill, uri, jobs, seed)
    run = _Run(uri, effects, jobs, random.Random(seed))
    began = time.monotonic()
    for _ in range(processes):
        run.start()
    while time.monotonic() < began + seconds and run.alive():
        time.sleep(run.chance.uniform(0.2, 0.8))
        run.disturb()
    run.resume_all()
    while run.alive() and time.monotonic() < began + seconds + patience:
        time.sleep(0.05)
    run.summary.seconds = time.monotonic() - began
    run.summary.finished = not run.alive()
    run.stop()
    return run.summary


class _Run:
    def __init__(self, uri: str, effects: Path, jobs: int, chance: random.Random):
        self.chance = chance
        self.summary = Summary()
        self._what = (uri, effects, jobs)
        self._children: list[multiprocessing.Process] = []
        self._paused: dict[int, float] = {}

    def start(self) -> None:
        seed = self.chance.randrange(10**9)
        child = _PROCESSES.Process(target=_claim, args=(*self._what, seed), daemon=True)
        child.start()
        self._children.append(child)

    def alive(self) -> bool:
        for child in [each for each in self._children if not each.is_alive()]:
            if child.exitcode not in (0, -signal.SIGKILL):
                self.summary.crashed.append(child.exitcode)
            self._children.remove(child)
        return bool(self._children)

    def disturb(self) -> None:
        for pid in [pid for pid, until in self._paused.items() if until < time.monotonic()]:
            self._resume(pid)
        victims = [each for each in self._children if each.pid not in self._paused]
        if len(victims) < 2:
            return
        victim = self.chance.choice(victims)
        if self.summary.kills <= self.summary.pauses:
            victim.kill()
            victim.join()
            self.summary.kills += 1
            self.start()
        else:
            os.kill(victim.pid, signal.SIGSTOP)
            self._paused[victim.pid] = time.monotonic() + LEASE_SECONDS * 1.5
            self.summary.pauses += 1

    def resume_all(self) -> None:
        for pid in list(self._paused):
            self._resume(pid)

    def _resume(self, pid: int) -> None:
        del self._paused[pid]
        os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        for child in self._children:
            child.kill()
            child.join()


def _claim(uri: str, effects: Path, jobs: int, seed: int) -> None:
    Claimer(uri, effects, jobs, seed).run()


def _in_process(target, *args) -> None:
    child = _PROCESSES.Process(target=target, args=args)
    child.start()
    child.join()
    if child.exitcode != 0:
        raise SystemExit(f"{target.__name__} failed with exit code {child.exitcode}")


def main() -> int:
    """Prints what was done; returns 1 when the jobs were not finished in time."""
    parser = argparse.ArgumentParser(
        prog="python -m dev.chaos.claimers", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--database", required=True, help="URI of an empty database")
    parser.add_argument("--effects", type=Path, required=True, help="folder for the effect logs")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to kill and stop")
    parser.add_argument("--patience", type=float, default=600.0, help="how long for the rest")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.effects.mkdir(parents=True, exist_ok=True)
    summary = chaos(
        options.database,
        options.effects,
        options.processes,
        options.jobs,
        options.seconds,
        options.patience,
        options.seed,
    )
    print(
        f"{options.jobs} jobs, {options.processes} processes: {summary.seconds:.1f} s, "
        f"{options.jobs / summary.seconds:.0f} jobs per second, {summary.kills} kills, "
        f"{summary.pauses} pauses, finished: {summary.finished}, crashed: {summary.crashed}"
    )
    return 0 if summary.finished and not summary.crashed else 1


if __name__ == "__main__":
    sys.exit(main())
