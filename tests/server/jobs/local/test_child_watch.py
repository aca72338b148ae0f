"""A watched process dies with its writer, by the kernel alone where that is known to do it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlflow.server.jobs.local import child_watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs F_SETSIG")

_PATIENCE_SECONDS = 60.0
_WATCHED = """
import signal, sys, threading
import child_watch
{kernel}
child_watch.watch(int(sys.argv[1]), child_watch.kernel_kills())
print(child_watch.kernel_kills(), threading.active_count(), flush=True)
signal.pause()
"""


@pytest.mark.parametrize(
    ("kernel", "found"),
    [
        ("", "True 1"),
        # As one that knows nothing of it.
        ("child_watch.fcntl = None", "False 2"),
    ],
)
def test_a_thread_watches_where_the_kernel_does_not_kill(kernel, found):
    watched, lifeline = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", _WATCHED.format(kernel=kernel), str(watched)],
        env={**os.environ, "PYTHONPATH": str(Path(child_watch.__file__).parent)},
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[watched],
        start_new_session=True,
    )
    os.close(watched)
    try:
        with process.stdout as said:
            assert said.readline() == f"{found}\n"
    finally:
        os.close(lifeline)
    assert process.wait(_PATIENCE_SECONDS) == -signal.SIGKILL
