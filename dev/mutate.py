#!/usr/bin/env python3
"""Take away the guard of each invariant in turn, and see its test go red.

usage: dev/mutate.py [-j PROCESSES] [--by TEST] [WORD ...]

A WORD picks guards, by invariant or by text. --by runs another test than the one that is named.

Run it with the developer's environment. Nothing is written to the tree: a guard is taken away while
its module is imported, in a process of its own. Tests run on SQLite, or on the one database that a
guard is for, at `TEST_POSTGRES_URI`, and have to be green with all guards in place. Exit code 1 if
a mutant survives.
"""

import argparse
import contextlib
import dataclasses
import importlib
import importlib.abc
import importlib.util
import io
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dev.mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parent.parent

# What every test imports, and what does not import the modules that are changed.
WARM = ("mlflow.store.db.utils", "mlflow.store.tracking.dbmodels.models", "alembic.command")
CHANGED = ("mlflow.server.jobs", "mlflow.store.jobs")
NO_OUTCOME = "died"
DATABASES = ("sqlite", "postgresql", "mysql")


class GuardMissing(Exception):
    """The text of a guard does not stand exactly once in its module."""


class Remover(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module without its guard."""

    def __init__(self, mutant: Mutant):
        self._mutant = mutant

    def find_spec(self, fullname, path, target=None):
        if fullname != self._mutant.module:
            return None
        found = PathFinder.find_spec(fullname, path)
        return importlib.util.spec_from_file_location(fullname, found.origin, loader=self)

    def create_module(self, spec):
        return None

    def exec_module(self, module: ModuleType) -> None:
        path = module.__spec__.origin
        source = without_guard(self._mutant, Path(path).read_text("utf-8"))
        exec(compile(source, path, "exec"), module.__dict__)


def without_guard(mutant: Mutant, source: str) -> str:
    """The module's source without the guard.

    Raises:
        GuardMissing: The guard has been moved or written anew; the list has to follow.
    """
    for old, new in mutant.removals:
        if source.count(old) != 1:
            raise GuardMissing(f"{mutant.module} has {source.count(old)} times: {old!r}")
        source = source.replace(old, new)
    return source


class Outcome:
    """A pytest plugin that remembers how a run ended, in a word or the name of the red test."""

    def __init__(self):
        self.red = None
        self.broken = None
        self.passed = 0

    def pytest_runtest_logreport(self, report):
        if report.when == "call" and report.failed:
            self.red = self.red or report.nodeid
        elif report.failed:
            self.broken = self.broken or f"{report.nodeid}: {report.longreprtext[-300:]}"
        elif report.when == "call" and report.passed:
            self.passed += 1

    def __str__(self):
        if self.broken:
            return f"broken {self.broken}"
        if self.red:
            return f"red {self.red}"
        return f"green {self.passed}" if self.passed else "broken no test has run"


@dataclasses.dataclass
class Run:
    """A process that runs the test of one mutant, or all tests unchanged."""

    mutant: Mutant | None
    tests: Sequence[str]
    database: str
    answer: Path
    started: float

    def outcome(self) -> str:
        """What the process has left behind."""
        with contextlib.suppress(FileNotFoundError):
            return self.answer.read_text("utf-8")
        return NO_OUTCOME


def missing(mutants: Sequence[Mutant]) -> list[str]:
    """The guards that cannot be taken away, because they are not where the list says."""
    problems = []
    for mutant in mutants:
        path = ROOT.joinpath(*mutant.module.split(".")).with_suffix(".py")
        try:
            without_guard(mutant, path.read_text("utf-8"))
        except GuardMissing as problem:
            problems.append(f"moved: {mutant.invariant} {mutant.guard}: {problem}")
    return problems


def run_all(mutants: Sequence[Mutant], processes: int, warm: Sequence[str] = WARM) -> list[str]:
    """Print a line for each mutant; answer what is wrong."""
    for module in warm:
        importlib.import_module(module)
    early = [name for name in sys.modules if name.startswith(CHANGED)]
    assert not early, f"imported before it can be changed: {early}"
    waiting = [(mutant, [mutant.test], mutant.database) for mutant in mutants]
    for database in DATABASES:
        tests = sorted({mutant.test for mutant in mutants if mutant.database == database})
        waiting += [(None, tests, database)] if tests else []
    running: dict[int, Run] = {}
    problems = []
    with tempfile.TemporaryDirectory() as directory:
        while waiting or running:
            while waiting and len(running) < processes:
                answer = Path(directory, str(len(waiting)))
                run = Run(*waiting.pop(), answer, time.monotonic())
                running[_start(run)] = run
            pid, _ = os.wait()
            run = running.pop(pid)
            problems += _report(run, time.monotonic() - run.started)
    return problems


def _start(run: Run) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        _run_here(run)
    finally:
        os._exit(0)


def _run_here(run: Run) -> None:
    silent = io.StringIO()
    outcome = Outcome()
    others = " and ".join(f"not {each}" for each in DATABASES if each != run.database)
    options = ["-x", "-q", "-p", "no:cacheprovider", "-k", others]
    with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
        if run.mutant is not None:
            sys.meta_path.insert(0, Remover(run.mutant))
        pytest.main([*options, *run.tests], plugins=[outcome])
    run.answer.write_text(str(outcome), "utf-8")


def _report(run: Run, seconds: float) -> list[str]:
    word, _, what = run.outcome().partition(" ")
    if run.mutant is None:
        print(f"{word:7} {'':4} all guards in place ({seconds:.0f} s) {what}", flush=True)
        return [] if word == "green" else [f"red without a mutant: {what}"]
    title = f"{run.mutant.invariant:4} {run.mutant.guard}"
    print(f"{word:7} {title} ({seconds:.0f} s) {what.rpartition('::')[2]}", flush=True)
    return [] if word == "red" else [f"{word}: {title}: {what}"]


def main(words: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-j", type=int, default=os.cpu_count(), help="processes at once")
    parser.add_argument("--by", metavar="TEST", help="a test file, instead of each guard's own")
    parser.add_argument("words", nargs="*", metavar="WORD", help="invariant, or part of a guard")
    arguments = parser.parse_args(words)
    chosen = [
        mutant
        for mutant in MUTANTS
        if not arguments.words
        or any(word == mutant.invariant or word in mutant.guard for word in arguments.words)
    ]
    if arguments.by:
        chosen = [dataclasses.replace(mutant, test=arguments.by) for mutant in chosen]
    os.chdir(ROOT)
    problems = missing(chosen) or run_all(chosen, arguments.j)
    print(f"{len(chosen)} mutants, {len(problems)} problems")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
