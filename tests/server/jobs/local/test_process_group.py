"""A process group dies whole: when it is told to, when its leader ends, when its runner is gone."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mlflow.server.jobs.local import process_group
from mlflow.server.jobs.local.process_group import ProcessGroup, describe_exit
from tests.processes import is_alive

_HERE = Path(__file__).parent
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
_PATIENCE_SECONDS = 300.0


@pytest.fixture(params=["pidfd", "no pidfd"])
def waiting(request, monkeypatch):
    """Both ways to wait for a process."""
    if request.param == "no pidfd":
        monkeypatch.setattr(process_group, "_pidfd", lambda pid: None)


@pytest.fixture
def start(tmp_path):
    """Starts `family`, and answers it with what it announced."""
    groups = []

    def start(mode, module="family"):
        announcement = tmp_path / f"announcement-{len(groups)}.json"
        env = {**os.environ, "PYTHONPATH": str(_HERE)}
        group = ProcessGroup.start(module, [str(announcement), mode], env=env)
        groups.append(group)
        return group, _read_when_there(announcement)

    yield start
    for group in groups:
        group.end()
        group.stderr.close()


@pytest.mark.usefixtures("waiting")
def test_killing_a_group_kills_its_descendants(start):
    group, pids = start("stay")

    group.kill()

    assert group.wait(_PATIENCE_SECONDS)
    assert group.end() == -signal.SIGKILL
    _assert_dead(pids)


@pytest.mark.usefixtures("waiting")
def test_a_leader_that_ends_takes_its_descendants_with_it(start):
    group, pids = start("leave")

    assert group.wait(_PATIENCE_SECONDS)

    assert group.end() == 3
    _assert_dead(pids)


@needs_proc
@pytest.mark.usefixtures("waiting")
@pytest.mark.parametrize("mode", ["stay", "leave"])
def test_descendants_in_other_sessions_are_gone_when_a_group_has_ended(start, mode):
    group, pids = start(mode, "wanderers")
    _, others = start("stay", "wanderers")

    if mode == "stay":
        group.kill()
    assert group.wait(_PATIENCE_SECONDS)
    group.end()

    assert not any(is_alive(pid) for pid in pids.values())
    assert all(is_alive(pid) for pid in others.values())


@needs_proc
def test_a_watchdog_ends_every_family_of_a_runner_that_is_gone(tmp_path):
    announcement = tmp_path / "announcement.json"
    runner = subprocess.Popen(
        [sys.executable, str(_HERE / "runner_of_wanderers.py"), str(announcement)],
        env={**os.environ, "PYTHONPATH": str(_HERE)},
    )
    try:
        pids = _read_when_there(announcement)
    finally:
        runner.kill()
        runner.wait()
    _assert_dead(pids)


@pytest.mark.usefixtures("waiting")
def test_a_wait_that_runs_out_leaves_the_group_alone(start):
    group, pids = start("stay")

    assert not group.wait(0.05)

    assert all(is_alive(pid) for pid in pids.values())


def test_one_thread_can_wait_while_another_ends_the_group(start):
    group, _ = start("stay")
    answers = []
    waiting = threading.Event()

    def wait():
        waiting.set()
        answers.append(group.wait(None))

    waiter = threading.Thread(target=wait)
    waiter.start()
    waiting.wait()
    group.end()
    waiter.join(_PATIENCE_SECONDS)

    assert answers == [True]
    assert group.wait(0)
    assert group.end() == -signal.SIGKILL


def test_a_group_is_in_a_session_of_its_own_and_reads_nothing(start):
    group, _ = start("stay")
    assert os.getsid(group.pid) == os.getpgid(group.pid) == group.pid
    assert os.readlink(f"/proc/{group.pid}/fd/0") == os.devnull


def test_a_module_is_run_as_python_would_run_it(start):
    group, seen = start("argv")
    assert group.wait(_PATIENCE_SECONDS)
    assert seen["path"] == os.getcwd()
    assert seen["argv"][0].endswith("family.py")
    assert seen["argv"][2] == "argv"


@pytest.mark.parametrize("mode", ["stay", "deaf"])
def test_no_process_of_a_group_outlives_a_killed_runner(tmp_path, mode):
    announcement = tmp_path / "announcement.json"
    runner = subprocess.Popen(
        [
            sys.executable,
            str(_HERE / "runner_of_one.py"),
            process_group.__file__,
            str(announcement),
            mode,
        ],
        env={**os.environ, "PYTHONPATH": str(_HERE)},
    )
    try:
        pids = _read_when_there(announcement)
    finally:
        runner.kill()
        runner.wait()
    _assert_dead(pids)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (3, "exited with error code 3"),
        (-signal.SIGSEGV, "was killed by SIGSEGV (signal 11)"),
        (
            -signal.SIGKILL,
            "was killed by SIGKILL (signal 9), often a sign that the host ran out of memory",
        ),
        (-1000, "was killed by signal 1000"),
        (None, "ended in a way that nobody saw"),
    ],
)
def test_an_exit_code_is_told_in_words(code, words):
    assert describe_exit(code) == words


def _read_when_there(path):
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)
    return json.loads(path.read_text())


def _assert_dead(pids):
    """Processes that are not children of the test give no event to wait for."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while alive := [name for name, pid in pids.items() if is_alive(pid)]:
        assert time.monotonic() < deadline, f"still alive: {alive}"
        time.sleep(0.01)
