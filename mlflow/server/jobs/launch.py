"""How the server starts its job runner and sees it off.

The runner stays in the server's process group, so that Ctrl-C reaches both; each drains by itself.
Its life is bound to the server process whose id it is given, not to the process that launched it.
"""

import logging
import os
import subprocess
import sys
import time

from mlflow.environment_variables import (
    _MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN,
    MLFLOW_SERVER_JOB_GATEWAY_USER,
)
from mlflow.server.constants import MLFLOW_SERVER_UP_TIME
from mlflow.server.jobs.server_watch import SERVER_PID_ENV_VAR
from mlflow.server.jobs.settings import JobSettings

_logger = logging.getLogger(__name__)

_RUNNER_MODULE = "mlflow.server.jobs.runner"

# What a runner needs beyond its grace to kill its jobs, write its rows and leave.
_STOP_MARGIN_SECONDS = 10.0


def _launch_job_execution_runner(env_map: dict[str, str], server_proc_pid: int) -> subprocess.Popen:
    """Start the runner of this replica.

    Args:
        env_map: Environment beyond that of this process.
        server_proc_pid: The server process whose end is the runner's end.
    """
    env = {
        **os.environ,
        **env_map,
        SERVER_PID_ENV_VAR: str(server_proc_pid),
        MLFLOW_SERVER_UP_TIME: str(int(time.time() * 1000)),
    }
    if _MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN.name in env_map:
        env.setdefault(MLFLOW_SERVER_JOB_GATEWAY_USER.name, _administrator())
    return subprocess.Popen([sys.executable, "-m", _RUNNER_MODULE], env=env)


def wait_for_server_and_runner(
    server_proc: subprocess.Popen, job_runner_proc: subprocess.Popen | None = None
) -> int:
    """Wait for the server, then for its runner's drain; the runner does not outlive this call.

    Returns:
        The server's exit code.
    """
    returncode = server_proc.wait()
    if job_runner_proc is not None:
        _stop(job_runner_proc, JobSettings.from_env().drain_grace + _STOP_MARGIN_SECONDS)
    return returncode


def _administrator() -> str:
    # Not at the top: it needs the optional `auth` extra, which a server with users has.
    from mlflow.server.auth.config import read_auth_config

    return read_auth_config().admin_username


def _stop(job_runner_proc: subprocess.Popen, patience_seconds: float) -> None:
    job_runner_proc.terminate()
    try:
        job_runner_proc.wait(timeout=patience_seconds)
    except subprocess.TimeoutExpired:
        _logger.warning("The job runner did not stop within %.0f s; killing it", patience_seconds)
        job_runner_proc.kill()
        job_runner_proc.wait()
