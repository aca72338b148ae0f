"""Bind the web server to `mlflow server`, its main process, and not only to the runner's care.

The runner stops the web server when the main process was killed. Where both are killed at once, the
kernel does (`bound_program`). It knows of parents only, though, and uvicorn's workers are the
children of a supervisor, which may have been killed as well; so each of them watches the main
process itself. Those of gunicorn watch their master, and waitress has none.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence

from mlflow.server.jobs import bound_program
from mlflow.server.jobs.bound_program import MAIN_PID_ENV_VAR
from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.server_watch import ServerWatch

_logger = logging.getLogger(__name__)

# An answer that is being streamed may keep a worker from ending.
_PATIENCE_SECONDS = 10.0


def bound_to_this_process(command: Sequence[str]) -> list[str]:
    """The same program, ended with this process; its process id is that of what is started.

    Args:
        command: The path of an executable, and its arguments.
    """
    if os.name == "nt":
        return [*command]
    return [
        *(sys.executable, "-I", "-S", bound_program.__file__),
        *(str(os.getpid()), *command),
    ]


def end_with_main_process() -> None:
    """Have this web worker end soon after the main process, if there is one."""
    # What a worker starts is none.
    pid = os.environ.pop(MAIN_PID_ENV_VAR, None)
    if pid is not None:
        clock = Clock()
        ServerWatch(int(pid), clock).start(lambda: _end(clock))


def _end(clock: Clock) -> None:
    _logger.warning("mlflow server is gone; its web worker %d ends", os.getpid())
    os.kill(os.getpid(), signal.SIGTERM)
    clock.wait(threading.Event(), _PATIENCE_SECONDS)
    os._exit(1)
