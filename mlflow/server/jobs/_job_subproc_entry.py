"""The first code of a job process: read the job, run its function, write one result, end.

Whatever the function does, short of ending the process, becomes a result in words. The parameters
come from a file, or from a variable where a runner of MLflow 3.18 started this process.
"""

import contextlib
import json
import logging
import os
import signal
import sys
import threading
from typing import Any

from mlflow.server.jobs.functions import _load_function
from mlflow.server.jobs.job_surroundings import job_surroundings
from mlflow.server.jobs.logging_utils import configure_logging_for_jobs
from mlflow.server.jobs.progress import JobTracker, _set_job_tracker
from mlflow.server.jobs.subprocess_protocol import (
    MLFLOW_SERVER_JOB_FENCE_ENV_VAR,
    MLFLOW_SERVER_JOB_FUNCTION_FULLNAME_ENV_VAR,
    MLFLOW_SERVER_JOB_ID_ENV_VAR,
    MLFLOW_SERVER_JOB_PARAMS_ENV_VAR,
    MLFLOW_SERVER_JOB_PARAMS_PATH_ENV_VAR,
    MLFLOW_SERVER_JOB_RESULT_DUMP_PATH_ENV_VAR,
    MLFLOW_SERVER_JOB_TRANSIENT_ERROR_CLASSES_PATH_ENV_VAR,
    _SubprocessJobResult,
    read_error_classes,
)
from mlflow.telemetry.client import get_telemetry_client, set_telemetry_client

# Named, because this module runs as __main__.
_logger = logging.getLogger("mlflow.server.jobs._job_subproc_entry")

_FLUSH_SECONDS = 5.0
# What the interpreter gets to join the function's threads and run its exit handlers.
_EXIT_SECONDS = 10.0


def main() -> None:
    configure_logging_for_jobs()
    set_telemetry_client()
    fullname = os.environ[MLFLOW_SERVER_JOB_FUNCTION_FULLNAME_ENV_VAR]
    result_path = os.environ[MLFLOW_SERVER_JOB_RESULT_DUMP_PATH_ENV_VAR]
    error_classes = read_error_classes(
        os.environ[MLFLOW_SERVER_JOB_TRANSIENT_ERROR_CLASSES_PATH_ENV_VAR]
    )
    try:
        result = _SubprocessJobResult.from_value(_run(fullname))
    except BaseException as error:
        _logger.exception("Job function %s failed", fullname)
        result = _SubprocessJobResult.from_error(error, error_classes)
    result.dump(result_path)
    _end_soon()
    _flush_telemetry()


def _run(fullname: str) -> Any:
    params = _params()
    function = _load_function(fullname)
    _set_job_tracker(_tracker())
    try:
        with job_surroundings():
            return function(**params)
    finally:
        _set_job_tracker(None)


def _params() -> dict[str, Any]:
    path = os.environ.get(MLFLOW_SERVER_JOB_PARAMS_PATH_ENV_VAR)
    if path is None:
        return json.loads(os.environ[MLFLOW_SERVER_JOB_PARAMS_ENV_VAR])
    with open(path, encoding="utf-8") as file:
        params = json.load(file)
    os.unlink(path)
    return params


def _tracker() -> JobTracker | None:
    job_id = os.environ.get(MLFLOW_SERVER_JOB_ID_ENV_VAR)
    fence = os.environ.get(MLFLOW_SERVER_JOB_FENCE_ENV_VAR)
    return JobTracker(job_id, None if fence is None else int(fence)) if job_id else None


def _end_soon() -> None:
    """Have the kernel end this process if it does not end by itself; the result is written."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        # Closed, or not there.
        sys.stdout.flush()
    # Not a thread: one costs a short job more than its function, and waits for the interpreter.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    signal.setitimer(signal.ITIMER_REAL, _EXIT_SECONDS)


def _flush_telemetry() -> None:
    if client := get_telemetry_client():
        flush = threading.Thread(target=client.flush, name="mlflow-job-telemetry", daemon=True)
        flush.start()
        flush.join(_FLUSH_SECONDS)


if __name__ == "__main__":
    main()
