"""How the server starts its job runner and sees it off.

The runner stays in the server's process group, so that Ctrl-C reaches both; each drains by itself.
Its life is bound to two processes: the server whose id it is given, and this one, which holds the
other end of its standard input (`runner_orders`). One request to stop drains, a second one does not
wait. When either is gone the runner sees to the end of what they started.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

from mlflow.environment_variables import (
    _MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN,
    _MLFLOW_SERVER_BOOT_ID,
    MLFLOW_SERVER_JOB_GATEWAY_USER,
)
from mlflow.server.constants import MLFLOW_SERVER_UP_TIME
from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.kept_runner import KeptRunner
from mlflow.server.jobs.runner_orders import ORDERS_ON_STDIN, Order
from mlflow.server.jobs.server_processes import ServerProcesses
from mlflow.server.jobs.server_watch import SERVER_PID_ENV_VAR
from mlflow.server.jobs.settings import JobSettings

_logger = logging.getLogger(__name__)

_RUNNER_MODULE = "mlflow.server.jobs.runner"

# What a runner needs beyond its grace to kill its jobs, write its rows and leave.
_STOP_MARGIN_SECONDS = 10.0
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

    def start() -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", _RUNNER_MODULE, ORDERS_ON_STDIN],
            env={**env, MLFLOW_SERVER_UP_TIME: str(int(time.time() * 1000))},
            stdin=subprocess.PIPE,
            bufsize=0,
        )

    boot_id = env_map.get(_MLFLOW_SERVER_BOOT_ID.name)
    return LaunchedRunner(start, ServerProcesses(boot_id) if boot_id else None)


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
        if callable(before[number]):
            before[number](number, frame)
        runner.ask(Order.DRAIN if asked == 1 else Order.NOW)
        if asked == 2:
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
