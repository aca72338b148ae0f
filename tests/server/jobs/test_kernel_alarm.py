"""The kernel kills a process in time that can do nothing itself, and of which nobody else knows."""

import signal
import subprocess
import sys
import textwrap

import pytest

from mlflow.server.jobs import kernel_alarm

PATIENCE_SECONDS = 60

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such timers")


def run(*tells: str, last_words: str = "") -> subprocess.Popen:
    """A process that has told these instants, and then reads its standard input to its end."""
    program = f"""
        import math, runpy, sys, time
        # Without the package, whose import takes seconds.
        alarm = runpy.run_path({kernel_alarm.__file__!r})["KernelAlarm"]()
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        for instant in [{", ".join(tells)}]:
            alarm.kill_at(instant)
        {last_words}
        sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


def test_a_stopped_process_is_killed_by_its_timer():
    stop = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    with run("now + 3600", "now + 0.5", last_words=stop) as process:
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL


def test_an_instant_that_is_over_already_kills_at_once():
    with run("math.inf", "now - 3600") as process:
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL


def test_a_later_instant_or_none_takes_the_place_of_an_earlier_one():
    with run("now + 0.5", "now + 3600") as later, run("now + 0.5", "math.inf") as never:
        # By then the first instant is over.
        with run("now + 0.6") as measure:
            measure.wait(PATIENCE_SECONDS)
        for process in (later, never):
            process.stdin.close()
            assert process.wait(PATIENCE_SECONDS) == 0
