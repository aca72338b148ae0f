"""Job functions that stock 3.18.0 and the fork run alike; servers find them by PYTHONPATH."""

import os
import subprocess
import sys
import time
from pathlib import Path

from mlflow.server.jobs import job


@job(name="adoption_add", max_workers=2)
def add(left: int, right: int) -> int:
    return left + right


@job(name="adoption_hold", max_workers=2)
def hold(started: str, released: str) -> str:
    """Says that it has started, then runs until the file `released` exists."""
    Path(started).touch()
    while not Path(released).exists():
        time.sleep(0.05)
    return "released"


@job(name="adoption_note", max_workers=2)
def note(path: str, line: str) -> None:
    """Adds a line to a file, once for each time that it runs."""
    with open(path, "a") as notes:
        notes.write(f"{line}\n")


@job(name="adoption_wander", max_workers=2)
def wander(folder: str) -> None:
    """Leaves its process id and that of a descendant in another session, and stays."""
    elsewhere = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
    wanderer = subprocess.Popen(elsewhere, start_new_session=True)
    note = Path(folder) / "writing"
    note.write_text(f"{os.getpid()} {wanderer.pid}")
    note.rename(Path(folder) / "pids")
    time.sleep(600)
