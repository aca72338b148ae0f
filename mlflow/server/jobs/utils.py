"""The module path under which MLflow 3.18's own modules and plugins look for parts of this package.

Only names; what they name lives elsewhere, and nothing of this package imports from here. Importing
this module loads the job functions, as it does in 3.18.
"""

from mlflow.server.jobs.functions import (
    _job_name_to_fn_fullname_map,
    _load_function,
    get_job_fn_fullname,
    load_job_functions,
)
from mlflow.server.jobs.launch import _launch_job_execution_runner
from mlflow.server.jobs.lock_manager import lock_key as _compute_job_lock_key
from mlflow.server.jobs.periodic_store import initialize_periodic_tasks_tracking_store
from mlflow.server.jobs.requirements import check_requirements as _check_requirements
from mlflow.server.jobs.subprocess_protocol import (
    _JOB_ENTRY_MODULE,
    MLFLOW_ORIGINAL_PARENT_PID_ENV_VAR,
    MLFLOW_SERVER_JOB_FUNCTION_FULLNAME_ENV_VAR,
    MLFLOW_SERVER_JOB_ID_ENV_VAR,
    MLFLOW_SERVER_JOB_NAME_ENV_VAR,
    MLFLOW_SERVER_JOB_PARAMS_ENV_VAR,
    MLFLOW_SERVER_JOB_RESULT_DUMP_PATH_ENV_VAR,
    MLFLOW_SERVER_JOB_TRANSIENT_ERROR_CLASSES_PATH_ENV_VAR,
    _SubprocessJobResult,
)

__all__ = [
    "MLFLOW_ORIGINAL_PARENT_PID_ENV_VAR",
    "MLFLOW_SERVER_JOB_FUNCTION_FULLNAME_ENV_VAR",
    "MLFLOW_SERVER_JOB_ID_ENV_VAR",
    "MLFLOW_SERVER_JOB_NAME_ENV_VAR",
    "MLFLOW_SERVER_JOB_PARAMS_ENV_VAR",
    "MLFLOW_SERVER_JOB_RESULT_DUMP_PATH_ENV_VAR",
    "MLFLOW_SERVER_JOB_TRANSIENT_ERROR_CLASSES_PATH_ENV_VAR",
    "_EXECUTOR_JOB_EXECUTION_ENGINE",
    "_JOB_ENTRY_MODULE",
    "_SubprocessJobResult",
    "_check_requirements",
    "_compute_job_lock_key",
    "_job_name_to_fn_fullname_map",
    "_launch_job_execution_runner",
    "_load_function",
    "get_job_execution_engine",
    "get_job_fn_fullname",
    "initialize_periodic_tasks_tracking_store",
]

# There is one engine, and callers treat it as they treat the one that is watched. It is not called
# "executor": under that name callers expect an engine that takes no `extra_envs`.
_EXECUTOR_JOB_EXECUTION_ENGINE = "jobs"


def get_job_execution_engine() -> str:
    """The one engine, whatever `MLFLOW_SERVER_JOB_EXECUTION_ENGINE` says."""
    return _EXECUTOR_JOB_EXECUTION_ENGINE


load_job_functions()
