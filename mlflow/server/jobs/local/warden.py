"""A small process that ends what a killed or a paused process leaves running. Keeps I4 outside the
database.

Nobody can promise to clean up after their own SIGKILL or during their own SIGSTOP, so somebody else
has to. A warden is started by the process that it watches, in a session of its own, and holds the
read end of a pipe of which that process alone has the other end.

**When that process is gone**, however it died, the warden gives what it left a moment to end by
itself, and kills all that still wears a mark (`family`).

**When it has gone silent**: the process may say until which instant, by `Clock`, it can be trusted
to see to its own, and has to say so again before that. When it does not, all that wears the mark is
killed, and the warden watches on. It says so first, over its standard output: one byte for each
time, by which the process, when it goes on, can tell this from a crash of its own.

There are two of them beside a server. That of the runner kills the families of its jobs at once,
those included that left their process group; it is told until when the job leases can be trusted.
That of the main process kills whatever belongs to the server, and waits until the runner, if it
lives, has stopped the rest in order.

    python -I -S warden.py LIFELINE GRACE_SECONDS MARK

Needs the standard library only. Linux only.
"""

import contextlib
import os
import runpy
import select
import signal
import struct
import sys
import time
from pathlib import Path

_INSTANT = struct.Struct("d")
_MAX_READ_BYTES = 4096 * _INSTANT.size
# What hangs in the kernel may take its time to die.
_PATIENCE_SECONDS = 600.0
_LOOK_SECONDS = 0.05


def main(lifeline: str, grace_seconds: str, mark: str) -> None:
    # Whoever stops all processes of a server at once does not mean the one that sees them off.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    family = runpy.run_path(str(Path(__file__).with_name("family.py")))
    while _goes_silent(int(lifeline)):
        # The process may be gone by now, and what it left must go all the more.
        with contextlib.suppress(OSError):
            os.write(sys.stdout.fileno(), b"!")
        family["end_marked"](mark, _PATIENCE_SECONDS)
    deadline = time.monotonic() + float(grace_seconds)
    while time.monotonic() < deadline and family["marked"](mark):
        time.sleep(_LOOK_SECONDS)
    family["end_marked"](mark, _PATIENCE_SECONDS)


def _goes_silent(lifeline: int) -> bool:
    """Wait until the process has not said in time that it can be trusted; false when it is gone."""
    waiting = select.poll()
    waiting.register(lifeline, select.POLLIN)
    seconds_left = None
    while waiting.poll(None if seconds_left is None else max(seconds_left, 0.0) * 1000):
        # The writes are whole and the pipe holds fewer than are read.
        instants = os.read(lifeline, _MAX_READ_BYTES)
        if not instants:
            return False
        (trusted_until,) = _INSTANT.unpack(instants[-_INSTANT.size :])
        seconds_left = trusted_until - time.clock_gettime(time.CLOCK_BOOTTIME)
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])
