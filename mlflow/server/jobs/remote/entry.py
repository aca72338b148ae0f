"""The first code of a remote workload: run the job's function, report its end to the server.

    python -m mlflow.server.jobs.remote.entry

Its variables are those of `workload_environment`. Everything that it reads and writes goes over
HTTP, with the job token. It exits with 0 once the server has the job's end, whatever end that is,
and with 1 if the server does not have it, so that a platform repeats no job that was done.
"""

import logging
import os
import sys
import threading
from contextlib import nullcontext
from typing import Any

from mlflow.entities._job_status import JobStatus
from mlflow.environment_variables import MLFLOW_WORKSPACE
from mlflow.server import handlers
from mlflow.server.jobs._job_subproc_entry import _params
from mlflow.server.jobs.executor import JobResult
from mlflow.server.jobs.functions import _load_function
from mlflow.server.jobs.logging_utils import configure_logging_for_jobs
from mlflow.server.jobs.progress import _set_job_tracker
from mlflow.server.jobs.remote.reporter import Reporter
from mlflow.server.jobs.subprocess_protocol import (
    MLFLOW_SERVER_JOB_FUNCTION_FULLNAME_ENV_VAR,
    MLFLOW_SERVER_JOB_ID_ENV_VAR,
    _SubprocessJobResult,
)
from mlflow.tracking._tracking_service.utils import _get_store
from mlflow.utils.workspace_context import WorkspaceContext

# Named, because this module runs as __main__.
_logger = logging.getLogger("mlflow.server.jobs.remote.entry")

# What the interpreter gets to join the function's threads and run its exit handlers.
_EXIT_SECONDS = 10.0


def main() -> int:
    """Run the job; answer the exit code."""
    configure_logging_for_jobs()
    reporter = Reporter(os.environ[MLFLOW_SERVER_JOB_ID_ENV_VAR])
    workspace = os.environ.get(MLFLOW_WORKSPACE.name)
    with WorkspaceContext(workspace) if workspace else nullcontext():
        code = 0 if reporter.report(_run(reporter)) else 1
    _end_soon(code)
    return code


def _run(reporter: Reporter) -> JobResult:
    fullname = os.environ[MLFLOW_SERVER_JOB_FUNCTION_FULLNAME_ENV_VAR]
    transient: list[type[Exception]] = []
    try:
        function = _load_function(fullname)
        transient = function._job_fn_metadata.transient_error_classes or []
        ended = _SubprocessJobResult.from_value(_call(function, reporter))
    except BaseException as error:
        _logger.exception("Job function %s failed", fullname)
        ended = _SubprocessJobResult.from_error(error, transient)
    if ended.succeeded:
        return JobResult(JobStatus.SUCCEEDED, ended.result)
    return JobResult(
        JobStatus.FAILED,
        error_message=ended.error,
        is_transient_error=bool(ended.is_transient_error),
    )


def _call(function, reporter: Reporter) -> Any:
    # Job functions ask the server's modules for the store. Here that is the server itself.
    handlers._tracking_store = _get_store()
    _set_job_tracker(reporter)
    try:
        return function(**_params())
    finally:
        _set_job_tracker(None)


def _end_soon(code: int) -> None:
    def end() -> None:
        try:
            _logger.warning("The job has ended, but the process does not end by itself")
            sys.stdout.flush()
        finally:
            os._exit(code)

    timer = threading.Timer(_EXIT_SECONDS, end)
    timer.name = "mlflow-job-exit"
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    sys.exit(main())
