"""The environment variables of a job process, and those that must never be among them."""

import re
from collections.abc import Mapping

from mlflow.environment_variables import (
    _MLFLOW_ASSISTANT_DELEGATION_SIGNING_KEY,
    _MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN,
    MLFLOW_GATEWAY_URI,
    MLFLOW_SERVER_JOB_GATEWAY_USER,
    MLFLOW_TRACKING_PASSWORD,
    MLFLOW_TRACKING_URI,
    MLFLOW_TRACKING_USERNAME,
    MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY,
    MLFLOW_WORKSPACE,
)
from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR
from mlflow.server.jobs.executor import JobExecutionContext
from mlflow.server.jobs.subprocess_protocol import (
    MLFLOW_SERVER_JOB_FENCE_ENV_VAR,
    MLFLOW_SERVER_JOB_ID_ENV_VAR,
    MLFLOW_SERVER_JOB_NAME_ENV_VAR,
)

# It signs credentials for any user of this server.
_SIGNING_KEY = _MLFLOW_ASSISTANT_DELEGATION_SIGNING_KEY.name

# Generous: a variable that is withheld needlessly costs speed at most.
_SECRET = re.compile(
    "AUTH|COOKIE|CREDENTIAL|DSN|HEADERS|KEY|PASS|PRIVATE|PWD|SECRET|SIGNATURE|TOKEN", re.IGNORECASE
)
# As in the connection string of a driver, or in the JSON of credentials.
_NAMED_WITHIN = re.compile(rf"""({_SECRET.pattern})\w*("\s*:|\s*=)""", re.IGNORECASE)
_URI = re.compile(r"\w://")
_PUBLIC_URI = re.compile(r"https?://[^@?]*")
_KIND_OF_STORE = re.compile(r"[\w+.-]+://")
_NO_STORE = "sqlite://"
# What was derived from these, `fork_child` derives again.
_MADE_ANEW = (MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY.name,)
# What the interpreter and the libraries below it read by themselves when they start, and what tqdm
# looks for.
_READ_BELOW = re.compile(
    "LANG|LANGUAGE|LC_.*|LD_LIBRARY_PATH|LD_PRELOAD|GLIBC_TUNABLES|MALLOC_.*|MIMALLOC_.*"
    "|PYTHON.*|(BLIS|GOTO|KMP|MKL|OMP|OPENBLAS|TQDM)_.*"
)


def job_environment(
    base: Mapping[str, str],
    job_name: str,
    context: JobExecutionContext,
    protocol: Mapping[str, str],
) -> dict[str, str]:
    """Everything that the job's process finds in its environment.

    The job's own `extra_envs` go before what the server was started with. Nothing goes before what
    tells the job who and where it is.

    Args:
        base: The runner's environment.
        job_name: The job's name.
        context: The job's context.
        protocol: The variables by which the runner and the process find each other's files.
    """
    env = {**base_environment(base), MLFLOW_TRACKING_URI.name: context.tracking_uri}
    if context.gateway_uri:
        env[MLFLOW_GATEWAY_URI.name] = context.gateway_uri
    env |= context.extra_envs or {}
    env |= _gateway_identity(env, context.creator or base.get(MLFLOW_SERVER_JOB_GATEWAY_USER.name))
    env |= {
        MLFLOW_SERVER_JOB_ID_ENV_VAR: context.job_id,
        MLFLOW_SERVER_JOB_NAME_ENV_VAR: job_name,
        **protocol,
    }
    _put(env, MLFLOW_WORKSPACE.name, context.workspace)
    _put(env, MLFLOW_SERVER_JOB_FENCE_ENV_VAR, context.fence)
    env.pop(_SIGNING_KEY, None)
    return env


def base_environment(base: Mapping[str, str]) -> dict[str, str]:
    """What any process that works for a job may see of the runner's environment."""
    return {name: value for name, value in base.items() if name != _SIGNING_KEY}


def fork_server_environment(base: Mapping[str, str]) -> dict[str, str]:
    """What the fork server may see of the runner's environment: nothing that may be a secret."""
    env = {name: value for name, value in base.items() if not _may_be_secret(name, value)}
    if store := base.get(BACKEND_STORE_URI_ENV_VAR):
        # Modules look whether it is set, and `fork_child` which driver it needs.
        kind = _KIND_OF_STORE.match(store)
        env[BACKEND_STORE_URI_ENV_VAR] = kind[0] if kind else _NO_STORE
    # A thread that Arrow's allocator would have besides.
    env["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
    return env


def unlike_when_imported(
    reads: Mapping[str, str | None], servers: Mapping[str, str], env: Mapping[str, str]
) -> list[str]:
    """The variables because of which a copy of the fork server would not do for a job.

    Args:
        reads: What modules read while they were imported; None for what was not there.
        servers: The fork server's environment.
        env: The job's environment.
    """
    below = filter(_READ_BELOW.fullmatch, servers.keys() | env.keys())
    seen = {**{name: servers.get(name) for name in below}, **reads}
    return sorted(
        name
        for name, value in seen.items()
        if env.get(name) != value
        and name not in _MADE_ANEW
        and not (name == BACKEND_STORE_URI_ENV_VAR and value and env.get(name))
    )


def _may_be_secret(name: str, value: str) -> bool:
    if not _READ_BELOW.fullmatch(name) and (_SECRET.search(name) or _NAMED_WITHIN.search(value)):
        return True
    return bool(_URI.search(value)) and not _PUBLIC_URI.fullmatch(value)


def _gateway_identity(env: Mapping[str, str], user: str | None) -> dict[str, str]:
    """Whom the job is to the gateway, on a server that authenticates its callers."""
    token = env.get(_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN.name)
    username, password = MLFLOW_TRACKING_USERNAME.name, MLFLOW_TRACKING_PASSWORD.name
    if not token or not user or username in env or password in env:
        return {}
    return {username: user, password: token}


def _put(env: dict[str, str], name: str, value: str | int | None) -> None:
    if value is None:
        env.pop(name, None)
    else:
        env[name] = str(value)
