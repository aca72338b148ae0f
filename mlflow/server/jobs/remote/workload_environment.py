"""What a remote workload finds in its environment: for executor plugins that start one.

They start `python -m mlflow.server.jobs.remote.entry` with these variables, on any host that
reaches the server over HTTP. `MLFLOW_JOB_TOKEN` is a secret: it goes into the workload's
environment, as a secret of the platform where it has such, and nowhere else.
"""

import json
from typing import Any

from mlflow.environment_variables import (
    MLFLOW_GATEWAY_URI,
    MLFLOW_JOB_TOKEN,
    MLFLOW_TRACKING_URI,
    MLFLOW_WORKSPACE,
)
from mlflow.server.jobs.executor import JobExecutionContext
from mlflow.server.jobs.subprocess_protocol import (
    MLFLOW_SERVER_JOB_FUNCTION_FULLNAME_ENV_VAR,
    MLFLOW_SERVER_JOB_ID_ENV_VAR,
    MLFLOW_SERVER_JOB_NAME_ENV_VAR,
    MLFLOW_SERVER_JOB_PARAMS_ENV_VAR,
    MLFLOW_SERVER_JOB_PARAMS_PATH_ENV_VAR,
)


def workload_environment(
    job_name: str,
    fn_fullname: str,
    params: dict[str, Any],
    context: JobExecutionContext,
    params_path: str | None = None,
) -> dict[str, str]:
    """The variables by which `remote.entry` finds its job and its server.

    Args:
        job_name: As given to `submit_job`.
        fn_fullname: As given to `submit_job`.
        params: As given to `submit_job`.
        context: As given to `submit_job`.
        params_path: Where the workload finds the parameters as a JSON file. Without it they are in
            a variable, of which Linux takes 128 KiB.
    """
    env = {
        **(context.extra_envs or {}),
        MLFLOW_TRACKING_URI.name: context.tracking_uri,
        MLFLOW_GATEWAY_URI.name: context.gateway_uri or context.tracking_uri,
        MLFLOW_SERVER_JOB_ID_ENV_VAR: context.job_id,
        MLFLOW_SERVER_JOB_NAME_ENV_VAR: job_name,
        MLFLOW_SERVER_JOB_FUNCTION_FULLNAME_ENV_VAR: fn_fullname,
    }
    if context.token:
        env[MLFLOW_JOB_TOKEN.name] = context.token
    if context.workspace:
        env[MLFLOW_WORKSPACE.name] = context.workspace
    if params_path:
        env[MLFLOW_SERVER_JOB_PARAMS_PATH_ENV_VAR] = params_path
    else:
        env[MLFLOW_SERVER_JOB_PARAMS_ENV_VAR] = json.dumps(params)
    return env
