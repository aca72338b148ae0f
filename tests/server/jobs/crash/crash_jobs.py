"""A job whose attempts tell the test what they are doing."""

import os
import time
from pathlib import Path

from mlflow.server.jobs.functions import job

FOREVER_SECONDS = 600


@job(name="crash_attempt", max_workers=4)
def attempt(folder):
    """Leaves its process id, then waits for the test to allow it to end."""
    attempts = len(list(Path(folder).glob("pid-*")))
    note = Path(folder) / f"writing-{attempts}"
    note.write_text(str(os.getpid()))
    note.rename(Path(folder) / f"pid-{attempts}")
    deadline = time.monotonic() + FOREVER_SECONDS
    while not (Path(folder) / f"end-{attempts}").exists():
        if time.monotonic() > deadline:
            raise TimeoutError("the test is gone")
        time.sleep(0.02)
    return attempts
