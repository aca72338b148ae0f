"""The style, the one-way imports and the names of the invariants hold for the whole tree."""

import subprocess
import sys
from pathlib import Path

from dev import check_invariants

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent


def _assert_succeeds(*command: object) -> None:
    done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_finds_nothing():
    _assert_succeeds(PROGRAMS / "ruff", "check", ".")


def test_the_code_is_formatted():
    _assert_succeeds(PROGRAMS / "ruff", "format", "--check", ".")


def test_imports_flow_one_way():
    _assert_succeeds(PROGRAMS / "lint-imports")


def test_every_transition_and_invariant_is_kept_by_code_and_shown_by_a_test():
    assert check_invariants.problems() == []


def test_a_name_that_only_code_or_only_tests_know_is_reported(tmp_path):
    rows = "".join(f"Transition({name[1:]}, {name})" for name in check_invariants.TRANSITIONS[1:])
    table = tmp_path / "mlflow/store/jobs/transitions.py"
    table.parent.mkdir(parents=True)
    table.write_text(f"{rows} I1 I2 I12")
    shown = tmp_path / "tests/test_i01_one_owner.py"
    shown.parent.mkdir()
    shown.write_text(" ".join(check_invariants.TRANSITIONS[:-1]))

    found = check_invariants.problems(tmp_path)

    assert "T1 is not in the table of transitions." in found
    assert "T1 is named by no code below mlflow/." in found
    assert "T13 is shown by no test." in found
    assert "I2 is shown by no test." in found
    assert "I3 is named by no code below mlflow/." in found
    assert "I12 is named but is no transition and no invariant." in found
    assert not any(problem.startswith(("I1 ", "T2 ")) for problem in found)
