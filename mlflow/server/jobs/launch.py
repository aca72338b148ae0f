"""How the server starts its job runner and sees it off.

The runner stays in the server's process group, so that Ctrl-C reaches both; each drains by itself.
Its life is bound to two processes: the server whose id it is given, and this one, which holds the
other end of its standard input (`runner_orders`). One request to stop drains, a second one does not
wait. When either is gone the runner sees to the end of what they started.

Where jobs are forked, the process that is started here imports first what the runner and the parent
of jobs have in common, and is told its environment only then (`local/warm_start`).
"""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from mlflow.environment_variables import (
    _MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN,
    _MLFLOW_SERVER_BOOT_ID,
    MLFLOW_SERVER_JOB_GATEWAY_USER,
)
from mlflow.server.constants import MLFLOW_SERVER_UP_TIME
from mlflow.server.jobs import local
from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.kept_runner import KeptRunner
from mlflow.server.jobs.local.family import Family
from mlflow.server.jobs.local.forking import Forking
from mlflow.server.jobs.local.job_environment import fork_server_environment
from mlflow.server.jobs.runner_orders import ORDERS_ON_STDIN, Order
from mlflow.server.jobs.server_processes import ServerProcesses
from mlflow.server.jobs.server_watch import SERVER_PID_ENV_VAR
from mlflow.server.jobs.settings import DEFAULT_BACKEND, JobSettings

_logger = logging.getLogger(__name__)

_RUNNER_MODULE = "mlflow.server.jobs.runner"
_WARM_START = str(Path(local.__file__).with_name("warm_start.py"))

# What a runner needs beyond its grace to kill its jobs, write its rows and leave.
_STOP_MARGIN_SECONDS = 12.0
# What a web server gets to end in order once somebody has become impatient.
_HURRY_SECONDS = 2.0


class LaunchedRunner(KeptRunner):
    """The runner of a server, and how to end all that belongs to that server."""

    def __init__(
        self, start: Callable[[], subprocess.Popen], processes: ServerProcesses | None
    ) -> None:
        super().__init__(start, Clock())
        self.processes = processes


def _launch_job_execution_runner(env_map: dict[str, str], server_proc_pid: int) -> LaunchedRunner:
    """Start the runner of this replica, and keep one running.

    Args:
        env_map: Environment beyond that of this process.
        server_proc_pid: The server process whose end is the runner's end.
    """
    env = {**os.environ, **env_map, SERVER_PID_ENV_VAR: str(server_proc_pid)}
    if _MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN.name in env_map:
        env.setdefault(MLFLOW_SERVER_JOB_GATEWAY_USER.name, _administrator())

    begin = _start_warm if _shares_imports(env) else _start_alone

    def start() -> subprocess.Popen:
        return begin({**env, MLFLOW_SERVER_UP_TIME: str(int(time.time() * 1000))})

    boot_id = env_map.get(_MLFLOW_SERVER_BOOT_ID.name)
    return LaunchedRunner(start, ServerProcesses(boot_id) if boot_id else None)


def _shares_imports(env: Mapping[str, str]) -> bool:
    """Whether the runner is to have a fork server, which imports the same as the runner."""
    settings = JobSettings.from_env(env)
    is_local = any(name.partition(":")[0] == DEFAULT_BACKEND for name in settings.backends)
    return settings.fork_server and is_local and Forking.is_possible()


def _start_alone(env: dict[str, str]) -> subprocess.Popen:
    return _popen(["-m", _RUNNER_MODULE, ORDERS_ON_STDIN], env)


def _start_warm(env: dict[str, str]) -> subprocess.Popen:
    # What is in here is what the fork server may know: nothing that may be a secret.
    public = fork_server_environment(env)
    with _letter([*(env.keys() - public.keys())]) as withheld, _letter(env) as whole:
        return _popen(
            [_WARM_START, str(withheld), str(whole), _RUNNER_MODULE, ORDERS_ON_STDIN],
            {**public, **Family(of_helper=True).environment},
            pass_fds=(withheld, whole),
        )


def _popen(
    arguments: list[str], env: Mapping[str, str], pass_fds: Collection[int] = ()
) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=env,
        stdin=subprocess.PIPE,
        bufsize=0,
        pass_fds=pass_fds,
    )


@contextlib.contextmanager
def _letter(content: object) -> Iterator[int]:
    """A file that nobody else can open; for the process that inherits it."""
    letter = os.memfd_create("mlflow-runner")
    try:
        with open(letter, "w", encoding="utf-8", closefd=False) as file:
            json.dump(content, file)
        yield letter
    finally:
        os.close(letter)


def wait_for_server_and_runner(
    server_proc: subprocess.Popen, job_runner_proc: LaunchedRunner | None = None
) -> int:
    """Wait for the server, then for its runner's drain; no process of either outlives this call.

    Returns:
        The server's exit code.
    """
    if job_runner_proc is None:
        return server_proc.wait()
    with _signals_passed_on(server_proc, job_runner_proc):
        returncode = server_proc.wait()
        grace = 0.0 if job_runner_proc.is_hurried else JobSettings.from_env().drain_grace
        job_runner_proc.stop(grace + _STOP_MARGIN_SECONDS)
    if job_runner_proc.processes:
        job_runner_proc.processes.end()
    return returncode


@contextlib.contextmanager
def _signals_passed_on(server_proc: subprocess.Popen, runner: KeptRunner) -> Iterator[None]:
    """Let the runner know what this process is asked, beside the server that is told already."""
    hurry_read, hurry_write = os.pipe()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    asked = 0

    def on_signal(number: int, frame: object) -> None:
        nonlocal asked
        asked += 1
        # The next signal may come while this one is being handled, and is handled first.
        this = asked
        if callable(before[number]):
            before[number](number, frame)
        runner.ask(Order.DRAIN if this == 1 else Order.NOW)
        if this == 2:
            os.close(hurry_write)

    def hurry() -> None:
        os.read(hurry_read, 1)
        os.close(hurry_read)
        try:
            server_proc.wait(_HURRY_SECONDS)
        except subprocess.TimeoutExpired:
            server_proc.kill()

    threading.Thread(target=hurry, name="mlflow-server-hurry", daemon=True).start()
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if asked < 2:
            os.close(hurry_write)


def _administrator() -> str:
    # Not at the top: it needs the optional `auth` extra, which a server with users has.
    from mlflow.server.auth.config import read_auth_config

    return read_auth_config().admin_username
