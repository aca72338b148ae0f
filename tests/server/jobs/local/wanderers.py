"""A program whose descendants leave its process group, for tests that kill it.

python -m wanderers ANNOUNCEMENT MODE

Prints nothing. `daemon` is forked twice and in a session of its own; `program` is started in one.
"""

import os
import subprocess
import sys
import time

from family import FOREVER_SECONDS, announce


def wander(announcement: str) -> dict[str, int]:
    """Start both, and tell who they are."""
    read_end, write_end = os.pipe()
    if (child := os.fork()) == 0:
        os.setsid()
        if (daemon := os.fork()) == 0:
            time.sleep(FOREVER_SECONDS)
        os.write(write_end, str(daemon).encode())
        os._exit(0)
    os.waitpid(child, 0)
    program = subprocess.Popen(
        [sys.executable, "-S", "-c", f"import time; time.sleep({FOREVER_SECONDS})"],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    pids = {"leader": os.getpid(), "daemon": int(os.read(read_end, 20)), "program": program.pid}
    announce(announcement, pids)
    return pids


def main(announcement: str, mode: str) -> None:
    wander(announcement)
    if mode == "leave":
        os._exit(3)
    time.sleep(FOREVER_SECONDS)


if __name__ == "__main__":
    main(*sys.argv[1:])
