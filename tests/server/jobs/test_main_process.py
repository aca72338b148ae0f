"""The web server ends with the main process, however many of them are killed at once."""

import os
import signal
import subprocess
import sys

import pytest

from mlflow.server.jobs import main_process
from mlflow.server.jobs.bound_program import MAIN_PID_ENV_VAR
from mlflow.server.jobs.main_process import bound_to_this_process, end_with_main_process
from tests.processes import is_alive

pytestmark = pytest.mark.skipif(os.name == "nt", reason="jobs do not run on Windows")

# Starts a web server as `mlflow server` does.
MAIN = """
import signal, subprocess, sys
from mlflow.server.jobs.main_process import bound_to_this_process
server = subprocess.Popen(bound_to_this_process([sys.executable, *sys.argv[1:]]))
print(server.wait(), flush=True)
"""

SERVER = "import os, signal; print(os.getpid(), flush=True); signal.pause()"

# A supervisor whose worker is an application of its own.
SUPERVISOR = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, lambda *_: None)
subprocess.run([sys.executable, "-c", sys.argv[1]])
"""

WORKER = """
import os, signal
from mlflow.server.jobs import main_process
{prepare}
main_process.end_with_main_process()
print(os.getppid(), flush=True)
signal.pause()
"""

_PATIENCE_SECONDS = 60.0


@pytest.fixture
def start():
    """Start a main process, whose descendants keep the other end of its output open."""
    started = []

    def start(*arguments: str) -> subprocess.Popen:
        main = subprocess.Popen(
            [sys.executable, "-c", MAIN, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(main)
        return main

    yield start
    for main in started:
        try:
            os.killpg(main.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        main.wait()
        main.stdout.close()


def _read_to_the_end(main: subprocess.Popen) -> str:
    """What was written until all who could write have ended."""
    return main.communicate(timeout=_PATIENCE_SECONDS)[0]


def test_the_program_is_what_was_started_with_its_arguments_and_exit_code():
    show = "import os, sys; print(os.getpid(), sys.argv[1:], sys.flags.isolated); sys.exit(3)"
    bound = bound_to_this_process([sys.executable, "-c", show, "a b", "--c"])
    process = subprocess.Popen(bound, stdout=subprocess.PIPE, text=True)
    said, _ = process.communicate(timeout=_PATIENCE_SECONDS)
    assert said == f"{process.pid} ['a b', '--c'] 0\n"
    assert process.returncode == 3


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux does it")
def test_a_server_ends_with_the_process_that_started_it(start):
    main = start("-c", SERVER)
    assert is_alive(int(main.stdout.readline()))
    main.kill()
    assert _read_to_the_end(main) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux does it")
def test_a_server_whose_parent_died_before_the_kernel_was_asked_does_not_start():
    bound = bound_to_this_process([sys.executable, "-c", SERVER])
    of_another = [str(os.getppid()) if word == str(os.getpid()) else word for word in bound]
    done = subprocess.run(of_another, capture_output=True, timeout=_PATIENCE_SECONDS)
    assert (done.returncode, done.stdout) == (1, b"")


@pytest.mark.parametrize(
    "prepare",
    [
        "main_process._PATIENCE_SECONDS = 3600",
        # One that streams an answer does not end when it is asked to.
        "main_process._PATIENCE_SECONDS = 0.1; signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    ],
    ids=["at its ease", "busy"],
)
def test_a_worker_ends_although_its_supervisor_does_nothing(start, prepare):
    main = start("-c", SUPERVISOR, WORKER.format(prepare=prepare))
    supervisor = int(main.stdout.readline())
    assert supervisor != main.pid
    os.kill(supervisor, signal.SIGSTOP)
    main.kill()
    main.wait()
    os.kill(supervisor, signal.SIGKILL)
    assert _read_to_the_end(main) == ""


def test_what_a_worker_starts_is_no_worker(monkeypatch):
    watched = []
    monkeypatch.setattr(main_process, "ServerWatch", lambda pid, _: watched.append(pid) or _Idle())
    monkeypatch.setenv(MAIN_PID_ENV_VAR, "4711")
    end_with_main_process()
    end_with_main_process()
    assert watched == [4711]
    assert MAIN_PID_ENV_VAR not in os.environ


class _Idle:
    def start(self, on_death):
        pass
