"""A program with a descendant, for tests that kill it. Needs the standard library only.

python -m family ANNOUNCEMENT MODE
"""

import ctypes
import json
import os
import subprocess
import sys
import time

FOREVER_SECONDS = 600


def main(announcement: str, mode: str) -> None:
    print(f"family in mode {mode}", file=sys.stderr, flush=True)
    if mode == "argv":
        announce(announcement, {"path": sys.path[0], "argv": sys.argv})
        return
    descendant = subprocess.Popen(
        [sys.executable, "-c", f"import time; time.sleep({FOREVER_SECONDS})"],
        stderr=subprocess.DEVNULL,
    )
    announce(announcement, {"leader": os.getpid(), "descendant": descendant.pid})
    if mode == "leave":
        # Not sys.exit, which would be waited for by nobody in particular.
        os._exit(3)
    if mode == "deaf":
        # Holds the interpreter, so that no other thread of this process can run.
        ctypes.PyDLL(None).sleep(FOREVER_SECONDS)
    time.sleep(FOREVER_SECONDS)


def announce(path: str, facts: dict) -> None:
    """Write JSON that appears whole."""
    with open(f"{path}.part", "w") as file:
        json.dump(facts, file)
    os.replace(f"{path}.part", path)


if __name__ == "__main__":
    main(*sys.argv[1:])
