"""The contract between the framework and the backends that run jobs.

A plugin that was written for MLflow 3.18's interface runs unchanged: what is new here is optional.
An executor knows nothing of the database. It is told to run a job, says how the job ended, stops it
when asked, and says after a loss what became of it.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Literal

from mlflow.entities._job_status import JobStatus
from mlflow.utils.annotations import experimental
from mlflow.utils.environment import _PythonEnv

# `mlflow server` stops itself when its runner ends with this code.
EXECUTOR_JOB_RUNNER_FATAL_EXIT_CODE = 70


@dataclass
class JobExecutorConfig:
    """What every executor may need to know of the framework's settings; times in seconds."""

    retry_base_delay: float = 1.0
    retry_max_delay: float = 60.0
    max_retries: int = 3
    default_timeout: float = 3600.0
    job_lease_ttl: float = 60.0
    completed_job_ttl: float | None = None
    fork_server: bool = True


@dataclass
class JobResult:
    """How a job ended.

    Attributes:
        status: A terminal status.
        result: JSON text of what the function returned, if it succeeded.
        error_message: Why it did not succeed, in words for an operator.
        is_transient_error: Whether the same job may succeed when it runs again.
    """

    status: JobStatus
    result: str | None = None
    error_message: str | None = None
    is_transient_error: bool = False


@dataclass
class JobExecutionContext:
    """What a job needs besides its parameters.

    Attributes:
        job_id: The job's id.
        tracking_uri: Where the job finds MLflow tracking.
        gateway_uri: Where it finds the AI gateway, if that is elsewhere.
        token: The secret that opens what the job was granted; for remote backends only.
        workspace: The workspace that the job belongs to, where workspaces are enabled.
        fence: The fence of the claim under which the job runs.
        creator: The user on whose behalf the job calls the gateway.
        extra_envs: Environment variables of this job only. They may be secrets: an executor puts
            them into the job's environment and nowhere else.
    """

    job_id: str
    tracking_uri: str
    gateway_uri: str | None = None
    token: str | None = field(default=None, repr=False)
    workspace: str | None = None
    fence: int | None = None
    creator: str | None = None
    extra_envs: dict[str, str] | None = field(default=None, repr=False)


@dataclass
class JobRecoveryResult:
    """What became of a job whose runner was lost, and so what to do with it.

    Attributes:
        job_id: The job.
        action: Its work goes on; or none of it is left; or it failed.
        error_message: Why it failed; with `requeue`, what its work died of, if it crashed.
    """

    job_id: str
    action: Literal["reattach", "requeue", "fail"]
    error_message: str | None = None


@experimental(version="3.17.0")
class AbstractJobExecutor(ABC):
    """A backend that runs jobs. Methods may be called from several threads at once."""

    def __init__(self, config: JobExecutorConfig) -> None:
        self._config = config

    @property
    def config(self) -> JobExecutorConfig:
        """The framework's settings."""
        return self._config

    def start_executor(self) -> None:
        """Acquire what the executor needs before its first job.

        Raises:
            MlflowException: The backend cannot run jobs; the runner then does not start.
        """

    def stop_executor(self) -> None:
        """Stop what can be stopped, and release everything. No job is submitted afterwards."""

    @abstractmethod
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
        """Start a job. The framework calls `wait_for_job` once for each call that returns.

        Args:
            job_id: The job's id.
            job_name: The name given to `@job`.
            fn_fullname: Dotted path of the function.
            params: The function's keyword arguments, plain JSON values.
            context: What the job needs besides its parameters.
            python_env: The Python environment that the function asked for.
            timeout: Seconds that the job may take, the set-up of its environment included.

        Raises:
            Exception: The job was not started, and its owner fails it with these words.
        """

    @abstractmethod
    def wait_for_job(self, job_id: str) -> JobResult:
        """Wait until a submitted job has ended, and forget it.

        Raises:
            Exception: It is not known how the job ended. Its row is left for recovery.
        """

    @abstractmethod
    def cancel_job(self, job_id: str) -> None:
        """Stop a job. Does nothing for a job that has ended or was never submitted here."""

    @abstractmethod
    def recover_jobs(self, unfinished_job_ids: list[str]) -> list[JobRecoveryResult]:
        """Say what became of jobs whose runner was lost.

        `requeue` promises that no work of the old run is left.
        """

    @property
    def remote_execution(self) -> bool:
        """Whether jobs run where they reach the server over HTTP only, with a job token."""
        return False

    @property
    def supports_direct_provider_models(self) -> bool:
        """Whether a remote backend brings its own credentials for models outside the gateway."""
        return False

    @property
    def accepts_extra_envs(self) -> bool:
        """Whether `JobExecutionContext.extra_envs` reach the job."""
        return False

    @property
    def ends_with_runner(self) -> bool:
        """Whether killing the runner's process ends the work of its jobs.

        `cancel_job` must then be quick: a runner that waits for it longer than it is trusted is
        killed, which ends the work as well. Others may take their time, or never answer.
        """
        return False

    def supports_job(self, job_name: str, params: dict[str, Any]) -> bool:
        """Whether this backend can run such a job; asked when a submission is routed."""
        return True

    def check_requirements(self) -> None:
        """Check, before the server starts, that what the backend depends on is there.

        Raises:
            MlflowException: Something is missing; the message says what.
        """
