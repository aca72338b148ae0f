"""The mutation program takes a guard away while its module is imported, and says what survives."""

import subprocess
import sys
from pathlib import Path

import pytest

from dev import check_invariants, mutate
from dev.mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]

# A module with a guard, and what its test asks of it.
GUARDED = "def may_pass(age):\n    return age >= 18\n"
STRICT = "from guarded import may_pass\n\n\ndef test_it():\n    assert not may_pass(17)\n"
LAX = "from guarded import may_pass\n\n\ndef test_it():\n    assert may_pass(18)\n"

RUN = """
import sys
from dev import mutate
from dev.mutants import Mutant
guard = ("age >= 18", "True")
sys.path.insert(0, {directory!r})
mutants = [Mutant("I0", "age", "guarded", (guard,), {test!r})]
sys.exit(len(mutate.run_all(mutants, 1, warm=[])))
"""


@pytest.fixture
def run_mutant(tmp_path):
    tmp_path.joinpath("guarded.py").write_text(GUARDED)

    def run(test: str) -> subprocess.CompletedProcess:
        path = tmp_path / "test_guarded.py"
        path.write_text(test)
        program = RUN.format(directory=str(tmp_path), test=str(path))
        return subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
        )

    return run


def test_a_guard_that_a_test_shows_leaves_it_red(run_mutant, tmp_path):
    done = run_mutant(STRICT)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "red     I0   age" in done.stdout
    assert "all guards in place" in done.stdout
    assert tmp_path.joinpath("guarded.py").read_text() == GUARDED


def test_a_guard_that_no_test_shows_is_a_problem(run_mutant):
    done = run_mutant(LAX)

    assert done.returncode == 1
    assert "green   I0   age" in done.stdout


def test_a_test_that_cannot_run_shows_nothing(run_mutant):
    done = run_mutant("import nothing_of_this_name\n")

    assert done.returncode == 2
    assert "broken  I0   age" in done.stdout


def test_every_guard_stands_where_the_list_says():
    assert mutate.missing(MUTANTS) == []


def test_every_invariant_of_the_store_and_the_runner_has_a_guard():
    pending = set(check_invariants.PENDING)

    guarded = {mutant.invariant for mutant in MUTANTS}
    assert guarded | pending == set(check_invariants.INVARIANTS)


def test_a_guard_that_was_moved_is_reported():
    moved = Mutant("I0", "fence", "mlflow.store.jobs.statements", (("no such text", ""),), "")

    assert len(mutate.missing([moved])) == 1
