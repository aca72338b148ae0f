"""The runner does not outlive its server, and its drain is waited for."""

import json
import subprocess
import sys

import pytest

from mlflow.server.jobs import launch
from mlflow.server.jobs.launch import _launch_job_execution_runner, wait_for_server_and_runner

READY = b"ready\n"

_GATEWAY_TOKEN = "_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN"
_GATEWAY_USER = "MLFLOW_SERVER_JOB_GATEWAY_USER"

DRAINING = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("ready", flush=True)
signal.pause()
"""

STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
signal.pause()
"""


@pytest.fixture
def spawn():
    processes = []

    def spawn(code: str) -> subprocess.Popen:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        processes.append(process)
        return process

    yield spawn
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_servers_exit_code_is_answered_after_the_runner_has_drained(spawn):
    runner = spawn(DRAINING)
    assert runner.stdout.readline() == READY
    assert wait_for_server_and_runner(spawn("raise SystemExit(3)"), runner) == 3
    assert runner.returncode == 7


def test_a_runner_that_does_not_stop_is_killed(spawn, monkeypatch):
    monkeypatch.setattr(launch, "_STOP_MARGIN_SECONDS", 0.1)
    monkeypatch.setenv("MLFLOW_SERVER_JOB_DRAIN_GRACE", "0")
    runner = spawn(STUBBORN)
    assert runner.stdout.readline() == READY
    assert wait_for_server_and_runner(spawn("pass"), runner) == 0
    assert runner.returncode == -9


def test_a_server_without_a_runner_is_waited_for_alone(spawn):
    assert wait_for_server_and_runner(spawn("raise SystemExit(5)")) == 5


@pytest.fixture
def environment_of_runner(monkeypatch, tmp_path):
    """Launches a runner that only writes its environment down, and answers that."""
    seen = tmp_path / "seen"
    module = tmp_path / "a_runner.py"
    module.write_text(
        "import json, os\n"
        f"with open({str(seen)!r}, 'w') as file: json.dump(dict(os.environ), file)\n"
    )
    monkeypatch.setattr(launch, "_RUNNER_MODULE", "a_runner")

    def launched(env: dict[str, str]) -> dict[str, str]:
        runner = _launch_job_execution_runner({"PYTHONPATH": str(tmp_path), **env}, 4711)
        assert runner.wait() == 0
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
