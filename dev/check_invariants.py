"""Every transition and every invariant is named by the code that keeps it and by a test.

Run as a program it prints what is missing, unknown or no longer pending, and exits 1 if anything.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

TRANSITIONS = tuple(f"T{number}" for number in range(1, 14))
INVARIANTS = tuple(f"I{number}" for number in range(1, 12))

# The one list of what this slice does not keep yet, with the work that will.
PENDING: dict[str, str] = {}

# Tests of this program name things that they do not show.
_ABOUT_NAMES = "checks"

_NAME = re.compile(r"\b[TI][1-9]\d?\b")
_ROW = re.compile(r"\bTransition\(\s*(\d+),")
_TEST_FILE = re.compile(r"test_(i)0?([1-9]\d?)_")


def problems(root: Path = ROOT) -> list[str]:
    """Returns one sentence for each name that code or tests owe, or that nobody knows."""
    table = _rows(root / "mlflow" / "store" / "jobs" / "transitions.py")
    code = _names(_python_files(root / "mlflow"))
    tests = _names(_python_files(root / "tests")) | _names_of_files(root / "tests")
    return [
        *(f"{name} is not in the table of transitions." for name in _owed(TRANSITIONS, table)),
        *(
            f"{name} is named by no code below mlflow/."
            for name in _owed(TRANSITIONS + INVARIANTS, code)
        ),
        *(f"{name} is shown by no test." for name in _owed(TRANSITIONS + INVARIANTS, tests)),
        *(
            f"{name} is named but is no transition and no invariant."
            for name in sorted((table | code | tests) - {*TRANSITIONS, *INVARIANTS})
        ),
        *(
            f"{name} is kept and shown: take it off the list of what is pending."
            for name in PENDING
            if name in code and name in tests
        ),
    ]


def _owed(names: Iterable[str], found: set[str]) -> Iterator[str]:
    return (name for name in names if name not in found and name not in PENDING)


def _names(paths: Iterable[Path]) -> set[str]:
    return {name for path in paths for name in _NAME.findall(path.read_text("utf-8"))}


def _rows(table: Path) -> set[str]:
    return {f"T{number}" for number in _ROW.findall(table.read_text("utf-8"))}


def _names_of_files(directory: Path) -> set[str]:
    matches = (_TEST_FILE.match(path.name) for path in _python_files(directory))
    return {match[1].upper() + match[2] for match in matches if match}


def _python_files(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*.py") if path.parent.name != _ABOUT_NAMES)


def main() -> int:
    """Prints the problems; returns the exit code."""
    found = problems()
    for problem in found:
        print(problem)
    for name, work in PENDING.items():
        print(f"(pending: {name}, {work})")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
