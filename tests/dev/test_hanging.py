"""A test that hangs fails, and what its threads do is shown, also by a process of xdist."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

HANGS = """
import threading

def wait_for_ever():
    threading.Event().wait()

def test_it():
    wait_for_ever()
"""


@pytest.mark.parametrize("spread", [[], ["-n1", "--max-worker-restart=0"]], ids=["alone", "spread"])
def test_a_test_that_hangs_fails_and_shows_where(tmp_path, spread):
    path = tmp_path / "test_hangs.py"
    path.write_text(HANGS)
    options = ["-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", "-o", "timeout=5"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *spread, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout
    assert "in wait_for_ever" in done.stderr
