"""A runner that does not say in time that it is awake is killed, stopped or not."""

import math
import os
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlflow.server.jobs import watchdog

PATIENCE_SECONDS = 60

pytestmark = pytest.mark.skipif(os.name == "nt", reason="jobs do not run there")


@contextmanager
def watched(script: str):
    """A process that has a watchdog, and has told its process id on its standard output."""
    program = f"""
        import math, os, sys, time
        from importlib.util import module_from_spec, spec_from_file_location
        # Without the package, whose import takes seconds.
        spec = spec_from_file_location("watchdog", {watchdog.__file__!r})
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        dog = module.Watchdog()
        def say():
            print(dog.pid, flush=True)
    """
    program = textwrap.dedent(program) + textwrap.dedent(script)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said_pid(process: subprocess.Popen) -> int:
    return int(process.stdout.readline())


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while Path(f"/proc/{pid}").exists() and "zombie" not in state(pid):
        assert time.monotonic() < deadline, f"process {pid} does not end"
        time.sleep(0.02)


def state(pid: int) -> str:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return "zombie"
    return next(line for line in lines if line.startswith("State:"))


def test_a_stopped_process_is_killed_at_the_instant_that_it_told():
    with watched(
        """
        dog.expect_sign_by(module._now() + 1.0)
        say()
        sys.stdin.read()
        """
    ) as process:
        said_pid(process)
        process.send_signal(signal.SIGSTOP)
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
        assert "no sign of life" in process.stderr.read()


def test_whoever_watches_kills_past_the_last_instant_that_was_told():
    read_end, write_end = os.pipe()
    for instant in (watchdog._now() + 600, watchdog._now() - 1):
        os.write(write_end, struct.pack("d", instant))
    killed = threading.Event()
    watching = threading.Thread(target=watchdog.watch, args=(read_end, killed.set), daemon=True)
    watching.start()
    assert killed.wait(PATIENCE_SECONDS)
    os.close(write_end)
    watching.join(PATIENCE_SECONDS)
    assert not watching.is_alive()
    os.close(read_end)


def test_a_process_that_tells_a_later_instant_in_time_lives_on():
    with watched(
        """
        began = module._now()
        dog.expect_sign_by(began + 30)
        dog.expect_sign_by(began + 0.5)
        dog.expect_sign_by(math.inf)
        while module._now() < began + 1.5:
            time.sleep(0.1)
        say()
        sys.stdin.read()
        """
    ) as process:
        said_pid(process)
        assert process.poll() is None


def test_a_watchdog_starts_when_there_is_something_to_watch():
    dog = watchdog.Watchdog()
    dog.expect_sign_by(float("inf"))
    assert dog.pid is None


def test_a_watchdog_ends_with_its_process():
    with watched("dog.expect_sign_by(module._now() + 600); say(); sys.stdin.read()") as process:
        pid = said_pid(process)
        process.kill()
        wait_until_gone(pid)


def test_a_watchdog_that_is_not_needed_any_more_kills_nobody():
    with watched(
        """
        dog.expect_sign_by(module._now() + 600)
        pid = dog.pid
        dog.stop()
        assert not os.path.exists(f"/proc/{pid}")
        dog.expect_sign_by(module._now())
        assert dog.pid is None
        """
    ) as process:
        assert process.wait(PATIENCE_SECONDS) == 0, process.stderr.read()


@pytest.fixture
def resting():
    """A watchdog that may be ended as soon as nothing is expected."""
    mark = f"_TEST_WATCHDOG={uuid.uuid4().hex}"
    dog = watchdog.Watchdog(mark, rest_seconds=0.0)
    yield dog, mark
    dog.stop()


def test_a_process_without_work_has_no_watchdog_until_it_has_some_again(resting):
    dog, _ = resting
    dog.expect_sign_by(watchdog._now() + 600)
    first = dog.pid
    dog.expect_sign_by(math.inf)
    dog.expect_sign_by(math.inf)
    assert dog.pid is None
    dog.expect_sign_by(watchdog._now() + 600)
    assert dog.pid not in (None, first)


def test_a_watchdog_stays_while_something_is_expected(resting):
    dog, _ = resting
    instant = watchdog._now() + 600
    for _ in range(3):
        dog.expect_sign_by(instant)
    assert dog.pid is not None


def test_a_watchdog_rests_only_when_nothing_was_expected_for_a_while():
    dog = watchdog.Watchdog(rest_seconds=600.0)
    try:
        dog.expect_sign_by(watchdog._now() + 600)
        for _ in range(3):
            dog.expect_sign_by(math.inf)
        assert dog.pid is not None
    finally:
        dog.stop()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks into /proc")
def test_a_watchdog_stays_while_something_of_a_job_would_not_die(resting):
    dog, mark = resting
    name, _, value = mark.partition("=")
    left = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE, env={name: value}
    )
    try:
        dog.expect_sign_by(watchdog._now() + 600)
        for _ in range(3):
            dog.expect_sign_by(math.inf)
        assert dog.pid is not None
    finally:
        left.communicate()
    dog.expect_sign_by(math.inf)
    assert dog.pid is None


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks into /proc")
def test_a_watchdog_that_was_killed_is_started_again():
    with watched(
        """
        dog.expect_sign_by(module._now() + 600)
        say()
        sys.stdin.readline()
        dog.expect_sign_by(module._now() + 600)
        say()
        sys.stdin.read()
        """
    ) as process:
        first = said_pid(process)
        os.kill(first, signal.SIGKILL)
        wait_until_gone(first)
        process.stdin.write("\n")
        process.stdin.flush()
        assert said_pid(process) != first


def test_a_watchdog_is_in_a_session_of_its_own():
    with watched("dog.expect_sign_by(module._now() + 600); say(); sys.stdin.read()") as process:
        pid = said_pid(process)
        assert os.getsid(pid) == pid
