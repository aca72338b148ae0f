"""Job functions: the `@job` decorator, and the way from a job's name to its function.

Only functions listed here, or named by the operator in `_MLFLOW_SUPPORTED_JOB_FUNCTION_LIST`, can
run as jobs; only names listed here, or in `_MLFLOW_ALLOWED_JOB_NAME_LIST`, can be submitted.
"""

import importlib
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from mlflow.exceptions import MlflowException
from mlflow.server.jobs.errors import UnknownJobName
from mlflow.utils import PYTHON_VERSION
from mlflow.utils.environment import _PythonEnv
from mlflow.utils.requirements_utils import _parse_requirements
from mlflow.version import VERSION

_logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


def _named_by_operator(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


# Job name to its function below `mlflow.genai`.
_OURS = {
    "invoke_genai_evaluate": "evaluation.job.invoke_genai_evaluate_job",
    "invoke_issue_detection": "discovery.job.invoke_issue_detection_job",
    "invoke_scorer": "scorers.job.invoke_scorer_job",
    "optimize_prompts": "optimize.job.optimize_prompts_job",
    "run_online_session_scorer": "scorers.job.run_online_session_scorer_job",
    "run_online_trace_scorer": "scorers.job.run_online_trace_scorer_job",
    "scheduled_issue_detection": "discovery.job.run_scheduled_issue_detection_job",
}

_SUPPORTED_JOB_FUNCTION_LIST = [
    *(f"mlflow.genai.{function}" for function in _OURS.values()),
    *_named_by_operator("_MLFLOW_SUPPORTED_JOB_FUNCTION_LIST"),
]

_ALLOWED_JOB_NAME_LIST = [*_OURS, *_named_by_operator("_MLFLOW_ALLOWED_JOB_NAME_LIST")]


def is_built_in(job_name: str) -> bool:
    """Whether this is a job of MLflow's own and not one that the operator named."""
    return job_name in _OURS


class TransientError(RuntimeError):
    """Raised by a job function to ask that the job be run again later."""

    def __init__(self, origin_error: Exception) -> None:
        super().__init__()
        self._origin_error = origin_error

    @property
    def origin_error(self) -> Exception:
        """What went wrong."""
        return self._origin_error


@dataclass
class JobFunctionMetadata:
    """What `@job` was told about a function; kept as its attribute `_job_fn_metadata`."""

    name: str
    fn_fullname: str
    max_workers: int
    transient_error_classes: list[type[Exception]] | None = None
    python_env: _PythonEnv | None = None
    exclusive: bool | list[str] = False
    resource_requests: dict[str, str] | None = None
    resource_limits: dict[str, str] | None = None


def job(
    name: str,
    max_workers: int,
    transient_error_classes: list[type[Exception]] | None = None,
    python_version: str | None = None,
    pip_requirements: list[str] | None = None,
    exclusive: bool | list[str] = False,
    resource_requests: dict[str, str] | None = None,
    resource_limits: dict[str, str] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare a module-level function as a job function. The function itself is returned.

    Args:
        name: The name under which jobs of this function are submitted.
        max_workers: How many of its jobs one runner runs at once.
        transient_error_classes: Exceptions of exactly these classes ask for a retry, as
            `TransientError` does.
        python_version: Run the function in an environment with this Python version.
        pip_requirements: Run the function in an environment with these packages.
        exclusive: True if two jobs with the same parameters must not run at once; a list of
            names if only these parameters count.
        resource_requests: What a job asks of backends that schedule resources.
        resource_limits: What a job is held to by backends that limit resources.

    Raises:
        MlflowException: `pip_requirements` cannot be parsed.
    """
    python_env = _python_env(python_version, pip_requirements)

    def declare(function: Callable[P, R]) -> Callable[P, R]:
        function._job_fn_metadata = JobFunctionMetadata(
            name,
            f"{function.__module__}.{function.__name__}",
            max_workers,
            transient_error_classes,
            python_env,
            exclusive,
            resource_requests,
            resource_limits,
        )
        return function

    return declare


def _python_env(
    python_version: str | None, pip_requirements: list[str] | None
) -> _PythonEnv | None:
    if not python_version and not pip_requirements:
        return None
    try:
        parsed = _parse_requirements(pip_requirements or [], is_constraint=False)
        dependencies = [requirement.req_str for requirement in parsed]
    except Exception as error:
        raise MlflowException.invalid_parameter_value(
            f"pip_requirements {pip_requirements} cannot be parsed: {error!r}"
        ) from error
    # A job's environment has the MLflow that its server was made from.
    dependencies.append(os.environ.get("MLFLOW_HOME") or f"mlflow=={VERSION}")
    return _PythonEnv(python=python_version or PYTHON_VERSION, dependencies=dependencies)


_job_name_to_fn_fullname_map: dict[str, str] = {}
_reported: set[str] = set()


def get_job_fn_fullname(job_name: str) -> str:
    """The dotted path of the function that runs jobs of this name.

    Raises:
        UnknownJobName: There is none.
    """
    if job_name not in _job_name_to_fn_fullname_map:
        load_job_functions()
    try:
        return _job_name_to_fn_fullname_map[job_name]
    except KeyError:
        raise UnknownJobName(job_name) from None


def get_job_function(job_name: str) -> Callable:
    """The function that runs jobs of this name.

    Raises:
        UnknownJobName: There is none.
    """
    return _load_function(get_job_fn_fullname(job_name))


def load_job_functions() -> None:
    """Import the modules of all supported job functions that are not known by name yet.

    One that cannot be loaded is reported once, and tried again at the next call.
    """
    # No lock: a thread that imports one of these modules may be the one that calls this.
    for fullname in tuple(_SUPPORTED_JOB_FUNCTION_LIST):
        if fullname in _job_name_to_fn_fullname_map.values() or _is_loading(fullname):
            continue
        try:
            name = _load_function(fullname)._job_fn_metadata.name
        except Exception as error:  # noqa: BLE001 - a module may raise anything as it loads
            _report(fullname, f"The job function {fullname} cannot be loaded: {error!r}")
            continue
        known = _job_name_to_fn_fullname_map.setdefault(name, fullname)
        if known != fullname:
            _report(
                fullname,
                f"The job function {fullname} is ignored: {known} has the same job name {name!r}.",
            )


def _is_loading(fullname: str) -> bool:
    module = sys.modules.get(fullname.rpartition(".")[0])
    return getattr(getattr(module, "__spec__", None), "_initializing", False)


def _report(fullname: str, message: str) -> None:
    if fullname not in _reported:
        _reported.add(fullname)
        _logger.warning(message)


def _load_function(fullname: str) -> Callable:
    """Import a function by its dotted path.

    Raises:
        MlflowException: The path is not one, or there is no such module or function.
    """
    module_name, _, function_name = fullname.rpartition(".")
    if not module_name or not function_name:
        raise MlflowException.invalid_parameter_value(
            f"{fullname!r} is not the dotted path of a function."
        )
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise MlflowException.invalid_parameter_value(
            f"The module of function {fullname!r} cannot be imported: {error}"
        ) from error
    if not hasattr(module, function_name):
        raise MlflowException.invalid_parameter_value(
            f"Module {module_name!r} has no function {function_name!r}.",
            error_class="ATTRIBUTE_NOT_FOUND",
        )
    return getattr(module, function_name)
