"""The runner does not outlive its server, and its drain is waited for."""

import json
import os
import select
import signal
import subprocess
import sys

import pytest

from mlflow.server.jobs import launch
from mlflow.server.jobs.executor import EXECUTOR_JOB_RUNNER_FATAL_EXIT_CODE
from mlflow.server.jobs.launch import (
    LaunchedRunner,
    _launch_job_execution_runner,
    wait_for_server_and_runner,
)
from mlflow.server.jobs.server_processes import ServerProcesses
from tests.server.jobs.fakes import PATIENCE_SECONDS

READY = b"ready\n"

_GATEWAY_TOKEN = "_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN"
_GATEWAY_USER = "MLFLOW_SERVER_JOB_GATEWAY_USER"
_BOOT_ID = "_MLFLOW_SERVER_BOOT_ID"

# Ends as it is told: 7 when it may drain, 8 when it may not.
RUNNER = """
import os
print("ready", flush=True)
order = os.read(0, 1)
if order == b"d":
    order = os.read(0, 1) if os.environ.get("SLOW") else b"q"
os._exit({b"q": 7, b"n": 8}[order])
"""

STUBBORN = """
import signal
print("ready", flush=True)
signal.pause()
"""

# What `mlflow server` does once both processes run, in a process that can be sent signals.
MAIN = """
import signal, subprocess, sys
from mlflow.server.jobs.launch import LaunchedRunner, wait_for_server_and_runner
server_code, runner_code = sys.argv[1:]
run = lambda code, **more: subprocess.Popen([sys.executable, "-S", "-c", code], **more)
server = run(server_code, stdout=subprocess.PIPE)
server.stdout.readline()
signal.signal(signal.SIGTERM, lambda number, _: server.poll() or server.send_signal(number))
signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))
runner = LaunchedRunner(lambda: run(runner_code, stdin=subprocess.PIPE, bufsize=0), None)
code = wait_for_server_and_runner(server, runner)
print(code, runner.returncode, flush=True)
"""


@pytest.fixture
def spawn():
    processes = []

    def spawn(code: str, *arguments: str, env=None, **options) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            **options,
        )
        processes.append(process)
        return process

    yield spawn
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def keep(spawn):
    def keep(code: str) -> LaunchedRunner:
        runner = LaunchedRunner(lambda: spawn(code, stdin=subprocess.PIPE, bufsize=0), None)
        assert runner._process.stdout.readline() == READY
        return runner

    return keep


def test_the_servers_exit_code_is_answered_after_the_runner_has_drained(spawn, keep):
    runner = keep(RUNNER)
    assert wait_for_server_and_runner(spawn("raise SystemExit(3)"), runner) == 3
    assert runner.returncode == 7


def test_a_runner_that_does_not_stop_is_killed(spawn, keep, monkeypatch):
    monkeypatch.setattr(launch, "_STOP_MARGIN_SECONDS", 0.1)
    monkeypatch.setenv("MLFLOW_SERVER_JOB_DRAIN_GRACE", "0")
    runner = keep(STUBBORN)
    assert wait_for_server_and_runner(spawn("pass"), runner) == 0
    assert runner.returncode == -9


def test_a_server_without_a_runner_is_waited_for_alone(spawn):
    assert wait_for_server_and_runner(spawn("raise SystemExit(5)")) == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_drains_and_the_server_is_waited_for(spawn, number):
    server = f"""
import os, signal
signal.signal({int(number)}, lambda *_: os._exit(3))
print(flush=True)
signal.pause()
"""
    main = spawn(MAIN, server, RUNNER)
    assert main.stdout.readline() == READY
    main.send_signal(number)
    assert main.stdout.readline() == b"3 7\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_waits_neither_for_the_grace_nor_for_a_stubborn_server(spawn, number):
    server = f"""
import signal
signal.signal({int(number)}, signal.SIG_IGN)
print(flush=True)
signal.pause()
"""
    main = spawn(MAIN, server, RUNNER, env={"SLOW": "1"})
    assert main.stdout.readline() == READY
    main.send_signal(number)
    # Signals of one number that are under way at once are one.
    while main.poll() is None and not select.select([main.stdout], [], [], 0.2)[0]:
        main.send_signal(number)
    assert main.stdout.readline() == b"-9 8\n"


def test_a_second_signal_may_come_while_the_first_is_being_handled(spawn):
    second_within_first = """
def pass_on(number, frame, passed_on=[]):
    if signal.getsignal(number) is not pass_on and not passed_on:
        passed_on.append(number)
        signal.raise_signal(number)
signal.signal(signal.SIGTERM, pass_on)
runner ="""
    server = "import signal; print(flush=True); signal.pause()"
    main = spawn(MAIN.replace("runner =", second_within_first, 1), server, RUNNER)
    assert main.stdout.readline() == READY
    main.terminate()
    # It may not listen yet when the runner is ready.
    while main.poll() is None and not select.select([main.stdout], [], [], 0.2)[0]:
        main.terminate()
    assert main.stdout.readline() == b"-9 8\n"


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_no_process_of_a_server_outlives_it(spawn, monkeypatch):
    orphan = spawn(STUBBORN, env={_BOOT_ID: "of-this-server"})
    stranger = spawn(STUBBORN, env={_BOOT_ID: "another"})
    assert orphan.stdout.readline() == stranger.stdout.readline() == READY
    runner = LaunchedRunner(
        lambda: spawn(RUNNER, stdin=subprocess.PIPE, bufsize=0), ServerProcesses("of-this-server")
    )
    assert wait_for_server_and_runner(spawn("pass"), runner) == 0
    assert orphan.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    assert stranger.poll() is None


@pytest.fixture
def environment_of_runner(monkeypatch, tmp_path):
    """Launches a runner that only writes its environment down, and answers that."""
    seen = tmp_path / "seen"
    module = tmp_path / "a_runner.py"
    module.write_text(
        "import json, os\n"
        f"with open({str(seen)!r}, 'w') as file: json.dump(dict(os.environ), file)\n"
        f"os._exit({EXECUTOR_JOB_RUNNER_FATAL_EXIT_CODE})\n"
    )
    monkeypatch.setattr(launch, "_RUNNER_MODULE", "a_runner")
    # Importing what jobs need would take seconds; `local/test_warm_start` is about that.
    monkeypatch.setenv("MLFLOW_SERVER_JOB_FORK_SERVER", "false")

    def launched(env: dict[str, str]) -> dict[str, str]:
        runner = _launch_job_execution_runner({"PYTHONPATH": str(tmp_path), **env}, 4711)
        assert runner.wait(PATIENCE_SECONDS) == EXECUTOR_JOB_RUNNER_FATAL_EXIT_CODE
        return json.loads(seen.read_text())

    return launched


def test_the_runner_is_told_which_server_it_belongs_to(environment_of_runner):
    env = environment_of_runner({"EXTRA": "!"})
    assert (env["MLFLOW_SERVER_PID"], env["EXTRA"]) == ("4711", "!")
    assert _GATEWAY_USER not in env


@pytest.mark.parametrize(("chosen", "user"), [(None, "root"), ("robot", "robot")])
def test_jobs_that_nobody_submitted_are_the_administrators_unless_a_user_is_chosen_for_them(
    environment_of_runner, monkeypatch, chosen, user
):
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_USERNAME", "root")
    if chosen:
        monkeypatch.setenv(_GATEWAY_USER, chosen)
    assert environment_of_runner({_GATEWAY_TOKEN: "t"})[_GATEWAY_USER] == user
