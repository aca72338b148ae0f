"""A small process that ends what a killed process leaves behind. Keeps I4 outside the database.

Nobody can promise to clean up after their own SIGKILL, so somebody else has to. A warden is started
by the process that it watches, in a session of its own, and holds the read end of a pipe of which
that process alone has the other end. When the process is gone, however it died, the warden gives
what it left a moment to end by itself, and kills all that still wears a mark (`family`).

There are two of them beside a server. That of the runner kills the families of its jobs at once,
those included that left their process group. That of the main process kills whatever belongs to the
server, and waits until the runner, if it lives, has stopped the rest in order.

    python -I -S warden.py LIFELINE GRACE_SECONDS MARK

Needs the standard library only. Linux only.
"""

import os
import runpy
import signal
import sys
import time
from pathlib import Path

# What hangs in the kernel may take its time to die.
_PATIENCE_SECONDS = 600.0
_LOOK_SECONDS = 0.05


def main(lifeline: str, grace_seconds: str, mark: str) -> None:
    # Whoever stops all processes of a server at once does not mean the one that sees them off.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    family = runpy.run_path(str(Path(__file__).with_name("family.py")))
    while os.read(int(lifeline), 1):
        pass
    deadline = time.monotonic() + float(grace_seconds)
    while time.monotonic() < deadline and family["marked"](mark):
        time.sleep(_LOOK_SECONDS)
    family["end_marked"](mark, _PATIENCE_SECONDS)


if __name__ == "__main__":
    main(*sys.argv[1:])
