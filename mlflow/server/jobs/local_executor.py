"""Run each job in a process group of its own on this host, and know how each one ended.

A job's record goes through one life: admitted, perhaps setting up its Python environment, running,
ended. Whoever wants it to end early only says so on the record and kills the group; the one thread
that waits for the job sees the process end and decides what that means:

- a written result is the outcome, however the process ended afterwards;
- a canceled job is CANCELED;
- a job of a stopped executor has no outcome, and is left for recovery;
- a job past its deadline is TIMEOUT;
- anything else is a crash, told in words.

A job is forked from a warm process (see `local/fork_server`) or starts an interpreter of its own;
which of the two makes no difference to it, nor to what follows here.

No job outlives the runner (see `local/child_watch` and `watchdog`), so that recovery can always
requeue. That includes the processes that a job moved to another session (`local/family`).
"""

import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities._job_status import JobStatus
from mlflow.exceptions import MlflowException
from mlflow.server.jobs.errors import ExecutorStopped
from mlflow.server.jobs.executor import (
    AbstractJobExecutor,
    JobExecutionContext,
    JobExecutorConfig,
    JobRecoveryResult,
    JobResult,
)
from mlflow.server.jobs.functions import _load_function
from mlflow.server.jobs.local.forking import Forking
from mlflow.server.jobs.local.job_environment import base_environment, job_environment
from mlflow.server.jobs.local.job_folders import JobFolders, remove_abandoned
from mlflow.server.jobs.local.process_group import ProcessGroup, describe_exit
from mlflow.server.jobs.local.python_environment import PythonEnvironment
from mlflow.server.jobs.local.stderr_tail import StderrTail
from mlflow.server.jobs.subprocess_protocol import (
    _JOB_ENTRY_MODULE,
    _JOB_ENV_SETUP_MODULE,
    MLFLOW_ORIGINAL_PARENT_PID_ENV_VAR,
    MLFLOW_SERVER_JOB_FUNCTION_FULLNAME_ENV_VAR,
    MLFLOW_SERVER_JOB_PARAMS_ENV_VAR,
    MLFLOW_SERVER_JOB_PARAMS_PATH_ENV_VAR,
    MLFLOW_SERVER_JOB_RESULT_DUMP_PATH_ENV_VAR,
    MLFLOW_SERVER_JOB_TRANSIENT_ERROR_CLASSES_PATH_ENV_VAR,
    UnusableResult,
    _SubprocessJobResult,
    write_error_classes,
)
from mlflow.utils.environment import _PythonEnv

_logger = logging.getLogger(__name__)

_STOP_SECONDS = 5.0

# The kernel refuses a program whose environment holds one string of 128 KiB.
_MAX_VARIABLE_BYTES = 128 * 1024 - 1


@dataclass
class _LocalJob:
    job_id: str
    fn_fullname: str
    timeout: float | None
    deadline: float | None
    directory: tempfile.TemporaryDirectory
    group: ProcessGroup | None = None
    stderr: StderrTail | None = None
    is_canceled: bool = False
    is_past_deadline: bool = False

    @property
    def workdir(self) -> Path:
        return Path(self.directory.name)

    @property
    def result_path(self) -> Path:
        return self.workdir / "result.json"

    def seconds_left(self) -> float | None:
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 0.0)


class LocalJobExecutor(AbstractJobExecutor):
    """The backend that is always there: processes on the runner's own host."""

    def __init__(self, config: JobExecutorConfig) -> None:
        super().__init__(config)
        self._jobs: dict[str, _LocalJob] = {}
        self._is_stopped = False
        wanted = config.fork_server and Forking.is_possible()
        self._forking = Forking() if wanted else None
        self._folders = JobFolders()
        # Guards jobs and stop, and the fields of a record that say how its job is to end. Held
        # while a process is started, so that none is started after its end was asked for; never
        # while one is waited for.
        self._lock = threading.Lock()

    @property
    def supports_direct_provider_models(self) -> bool:
        return True

    @property
    def accepts_extra_envs(self) -> bool:
        return True

    @property
    def ends_with_runner(self) -> bool:
        return True

    def check_requirements(self) -> None:
        if os.name == "nt":
            raise MlflowException("Jobs do not run on Windows")

    def start_executor(self) -> None:
        if count := remove_abandoned():
            _logger.info("Removed the files that %d job runners left when they were killed", count)
        if self._forking:
            self._forking.start()
        elif self.config.fork_server:
            _logger.info(
                "Each job starts an interpreter of its own: this system, or this build of Python, "
                "lacks what forking them takes"
            )

    def submit_job(
        self,
        job_id: str,
        job_name: str,
        fn_fullname: str,
        params: dict[str, Any],
        context: JobExecutionContext,
        python_env: _PythonEnv | None = None,
        timeout: float | None = None,
    ) -> None:
        if context.job_id != job_id:
            raise MlflowException.invalid_parameter_value(
                f"The context of job {job_id} is that of job {context.job_id}."
            )
        deadline = None if timeout is None else time.monotonic() + timeout
        job = _LocalJob(job_id, fn_fullname, timeout, deadline, self._folders.make())
        try:
            self._admit(job)
            self._start(job, job_name, params, context, python_env)
        except BaseException:
            self._forget(job)
            raise

    def wait_for_job(self, job_id: str) -> JobResult:
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None:
            raise MlflowException.invalid_parameter_value(
                f"Job {job_id} was not submitted to this executor, or has been waited for."
            )
        try:
            if job.group is None:
                return self._outcome(job, None, "")
            if not job.group.wait(job.seconds_left()):
                job.is_past_deadline = True
            return self._outcome(job, *_end(job))
        finally:
            self._forget(job)

    def cancel_job(self, job_id: str) -> None:
        with self._lock:
            if job := self._jobs.get(job_id):
                job.is_canceled = True
                if job.group:
                    job.group.kill()

    def recover_jobs(self, unfinished_job_ids: list[str]) -> list[JobRecoveryResult]:
        for job_id in unfinished_job_ids:
            self.cancel_job(job_id)
        return [JobRecoveryResult(job_id, "requeue") for job_id in unfinished_job_ids]

    def stop_executor(self) -> None:
        with self._lock:
            self._is_stopped = True
            groups = [job.group for job in self._jobs.values() if job.group]
            for group in groups:
                group.kill()
        deadline = time.monotonic() + _STOP_SECONDS
        for group in groups:
            group.wait(max(deadline - time.monotonic(), 0.0))
        if self._forking:
            self._forking.stop()
        self._remove_folders()

    def _admit(self, job: _LocalJob) -> None:
        with self._lock:
            if self._is_stopped:
                raise ExecutorStopped(job.job_id)
            if job.job_id in self._jobs:
                raise MlflowException.invalid_parameter_value(
                    f"Job {job.job_id} is running in this executor already."
                )
            self._jobs[job.job_id] = job

    def _forget(self, job: _LocalJob) -> None:
        if job.group:
            _end(job)
        with self._lock:
            if self._jobs.get(job.job_id) is job:
                del self._jobs[job.job_id]
        job.directory.cleanup()
        self._remove_folders()

    def _remove_folders(self) -> None:
        # The result of a job that has just ended may not have been read yet.
        with self._lock:
            if self._is_stopped and not self._jobs:
                self._folders.remove()

    def _start(
        self,
        job: _LocalJob,
        job_name: str,
        params: dict[str, Any],
        context: JobExecutionContext,
        python_env: _PythonEnv | None,
    ) -> None:
        metadata = getattr(_load_function(job.fn_fullname), "_job_fn_metadata", None)
        if metadata is None:
            raise MlflowException.invalid_parameter_value(
                f"The function {job.fn_fullname} is not declared with @job."
            )
        error_classes_path = job.workdir / "transient_error_classes"
        write_error_classes(str(error_classes_path), metadata.transient_error_classes)
        protocol = {
            MLFLOW_SERVER_JOB_FUNCTION_FULLNAME_ENV_VAR: job.fn_fullname,
            MLFLOW_SERVER_JOB_RESULT_DUMP_PATH_ENV_VAR: str(job.result_path),
            MLFLOW_SERVER_JOB_TRANSIENT_ERROR_CLASSES_PATH_ENV_VAR: str(error_classes_path),
            MLFLOW_ORIGINAL_PARENT_PID_ENV_VAR: str(os.getpid()),
        }
        if python_env is None:
            protocol[MLFLOW_SERVER_JOB_PARAMS_PATH_ENV_VAR] = _params_file(job, params)
            env = job_environment(os.environ, job_name, context, protocol)
            if self._forking:
                self._forking.wait_until_warm(job.seconds_left())
            self._launch(job, lambda: self._forked(env) or _started(env))
            return
        # MLflow 3.18.0 runs there, and knows of no file.
        protocol[MLFLOW_SERVER_JOB_PARAMS_ENV_VAR] = _params_variable(job, params)
        env = job_environment(os.environ, job_name, context, protocol)
        environment = PythonEnvironment.of(python_env)
        if environment.is_complete or self._set_up(job, environment):
            self._launch(job, lambda: _started(environment.activated(env), environment.python))

    def _set_up(self, job: _LocalJob, environment: PythonEnvironment) -> bool:
        arguments = environment.setup_arguments(job.workdir)
        env = base_environment(os.environ)
        setup = _JOB_ENV_SETUP_MODULE
        if not self._launch(job, lambda: ProcessGroup.start(setup, arguments, env=env)):
            return False
        if not job.group.wait(job.seconds_left()):
            job.is_past_deadline = True
        code, tail = _end(job)
        with self._lock:
            job.group = None
            if job.is_past_deadline or job.is_canceled or self._is_stopped:
                return False
        if code != 0:
            raise MlflowException(
                f"The Python environment of job {job.job_id} could not be set up: uv "
                f"{describe_exit(code)}.{_quoted(tail)}"
            )
        return True

    def _forked(self, env: dict[str, str]) -> ProcessGroup | None:
        return self._forking.fork(env) if self._forking else None

    def _launch(self, job: _LocalJob, start: Callable[[], ProcessGroup]) -> bool:
        with self._lock:
            if job.is_canceled or self._is_stopped:
                return False
            job.group = start()
        job.stderr = StderrTail(job.group.stderr, prefix=f"[job {job.job_id}] ")
        return True

    def _outcome(self, job: _LocalJob, code: int | None, tail: str) -> JobResult:
        unusable = None
        try:
            result = _job_result(_SubprocessJobResult.load(str(job.result_path)))
            if code == -signal.SIGALRM:
                _logger.warning("Job %s returned, but its process did not end", job.job_id)
            return result
        except FileNotFoundError:
            pass
        except UnusableResult as error:
            unusable = error
        with self._lock:
            if job.is_canceled:
                return JobResult(JobStatus.CANCELED)
            if self._is_stopped:
                raise ExecutorStopped(job.job_id)
        if job.is_past_deadline:
            where = " while its Python environment was being set up" if job.group is None else ""
            return _failed(
                f"The job ran longer than its timeout of {job.timeout:g} seconds{where}.",
                JobStatus.TIMEOUT,
            )
        if unusable:
            return _job_result(_SubprocessJobResult.from_error(unusable))
        return _failed(_crash(job, code, tail))


def _started(env: dict[str, str], python: str = sys.executable) -> ProcessGroup:
    return ProcessGroup.start(_JOB_ENTRY_MODULE, env=env, python=python)


def _params_file(job: _LocalJob, params: dict[str, Any]) -> str:
    path = job.workdir / "params.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(params), encoding="utf-8")
    return str(path)


def _params_variable(job: _LocalJob, params: dict[str, Any]) -> str:
    text = json.dumps(params)
    size = len(f"{MLFLOW_SERVER_JOB_PARAMS_ENV_VAR}={text}")
    if size > _MAX_VARIABLE_BYTES:
        raise MlflowException.invalid_parameter_value(
            f"The parameters of job {job.job_id} take {len(text)} bytes. A function that asks for "
            f"a Python environment of its own gets at most {_MAX_VARIABLE_BYTES} bytes."
        )
    return text


def _end(job: _LocalJob) -> tuple[int, str]:
    code = job.group.end()
    return code, job.stderr.close() if job.stderr else ""


def _job_result(result: _SubprocessJobResult) -> JobResult:
    if result.succeeded:
        return JobResult(JobStatus.SUCCEEDED, result=result.result)
    return JobResult(
        JobStatus.FAILED,
        error_message=result.error,
        is_transient_error=bool(result.is_transient_error),
    )


def _failed(message: str, status: JobStatus = JobStatus.FAILED) -> JobResult:
    return JobResult(status, error_message=message)


def _crash(job: _LocalJob, code: int | None, tail: str) -> str:
    if job.group is None:
        return f"The process of job function {job.fn_fullname} was never started."
    if code == 0:
        how = "ended without a result, as after os._exit(0)"
    else:
        how = describe_exit(code)
    return f"The process of job function {job.fn_fullname} {how}.{_quoted(tail)}"


def _quoted(tail: str) -> str:
    return f"\nThe end of its stderr:\n{tail}" if tail.strip() else ""
