"""What server-info tells every client, before login, about the backends that serve."""

import logging
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.server.jobs.executor import AbstractJobExecutor
from mlflow.server.jobs.executor_registry import get_executor_registry
from mlflow.server.jobs.requirements import check_requirements
from mlflow.server.jobs.settings import JobSettings

_logger = logging.getLogger(__name__)


def backends_info() -> dict[str, Any]:
    """The field `jobs` of server-info.

    Returns:
        `direct_provider_models`: whether jobs of the default backend reach models that are not
        behind the AI Gateway, so that a client offers no others where they do not. `backends`: for
        each backend its name, whether it is remote, and the same about models. Where jobs cannot
        run, False and no backends.
    """
    try:
        settings = JobSettings.from_env()
        if not settings.enabled:
            return _info(False, {})
        check_requirements()
        registry = get_executor_registry()
        serving = {name: registry.get(name) for name in registry.get_registered_names()}
        return _info(_reaches_direct_models(serving[settings.default_backend]), serving)
    # The answer is read by every client at its start and must not depend on a backend's health.
    except (MlflowException, KeyError) as error:
        _logger.debug("server-info names no job backends: %s", error)
        return _info(False, {})


def _info(direct_models: bool, serving: dict[str, AbstractJobExecutor]) -> dict[str, Any]:
    return {
        "direct_provider_models": direct_models,
        "backends": [
            {
                "name": name,
                "remote": executor.remote_execution,
                "direct_provider_models": _reaches_direct_models(executor),
            }
            for name, executor in serving.items()
        ],
    }


def _reaches_direct_models(executor: AbstractJobExecutor) -> bool:
    return not executor.remote_execution or executor.supports_direct_provider_models
