"""The backends of this server: one executor for each configured name.

A backend name is a configured instance, `ray` or `ray:gpu-pool`; what stands before the colon is
its type: `local`, `docker`, or the name of an entry point in the group `mlflow.job_executors`. Only
configured backends are built, so that a broken plugin which nobody configured harms nobody.
"""

import importlib
import logging
import threading
import warnings
from collections.abc import Iterable

from mlflow.exceptions import MlflowException
from mlflow.server.jobs.errors import BackendUnusable, UnknownBackend
from mlflow.server.jobs.executor import AbstractJobExecutor, JobExecutorConfig
from mlflow.server.jobs.requirements import check_requirements
from mlflow.server.jobs.settings import DEFAULT_BACKEND, JobSettings
from mlflow.utils.plugins import get_entry_points

_logger = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "mlflow.job_executors"
DEFAULT_EXECUTOR_BACKEND = DEFAULT_BACKEND
DOCKER_EXECUTOR_BACKEND = "docker"

# By name, so that a server which does not use a backend does not load what it is made of.
_BUILT_IN = {
    DEFAULT_EXECUTOR_BACKEND: ("mlflow.server.jobs.local_executor", "LocalJobExecutor"),
    DOCKER_EXECUTOR_BACKEND: ("mlflow.server.jobs.docker_executor", "DockerJobExecutor"),
}


class JobExecutorRegistry:
    """Executors by backend name."""

    def __init__(
        self, config: JobExecutorConfig | None = None, remote_tracking_uri: str | None = None
    ) -> None:
        """
        Args:
            config: What every executor is given.
            remote_tracking_uri: Where jobs of remote backends reach this server.
        """
        self._config = config or JobExecutorConfig()
        self._remote_tracking_uri = remote_tracking_uri
        self._executors: dict[str, AbstractJobExecutor] = {}

    @property
    def config(self) -> JobExecutorConfig:
        """What every executor of this registry is given."""
        return self._config

    def configure(self, names: Iterable[str]) -> None:
        """Make an executor for each of these backend names.

        Raises:
            UnknownBackend: There is no such type, or its plugin cannot be loaded.
        """
        for name in names:
            self.register(name, self._make(name))

    def discover_and_register(self) -> None:
        """Make an executor for every installed plugin, under the name of its entry point.

        A plugin that cannot be loaded is left out with a warning.

        Raises:
            MlflowException: A plugin has the name of a backend that is registered already.
        """
        for entry_point in get_entry_points(ENTRY_POINT_GROUP):
            self._refuse_taken(entry_point.name)
            try:
                executor = _load_plugin(entry_point)(self._config)
            except Exception as error:  # noqa: BLE001 - plugin code may raise anything
                warnings.warn(
                    f"The job executor plugin {entry_point.name!r} was left out: {error!r}",
                    stacklevel=2,
                )
                continue
            self._executors[entry_point.name] = executor

    def register(self, name: str, executor: AbstractJobExecutor) -> None:
        """Add an executor.

        Raises:
            MlflowException: The name is taken.
        """
        self._refuse_taken(name)
        self._executors[name] = executor

    def get(self, name: str) -> AbstractJobExecutor:
        """The executor of a backend.

        Raises:
            UnknownBackend: None is registered under this name.
        """
        try:
            return self._executors[name]
        except KeyError:
            raise UnknownBackend(name, self.get_registered_names()) from None

    def get_registered_names(self) -> list[str]:
        """The names of all registered backends, sorted."""
        return sorted(self._executors)

    def validate_backends(self, *backend_names: str) -> None:
        """Check that these backends can run jobs on this host.

        Raises:
            UnknownBackend: One is not registered.
            BackendUnusable: One is remote, and its jobs were not told where this server is.
            MlflowException: One lacks something that it depends on.
        """
        for name in backend_names:
            executor = self.get(name)
            if executor.remote_execution and not self._remote_tracking_uri:
                raise BackendUnusable(
                    name,
                    "it runs jobs elsewhere. Set MLFLOW_JOB_TRACKING_URI to the URI at which they "
                    "reach this server.",
                )
            try:
                executor.check_requirements()
            except MlflowException:
                raise
            except Exception as error:
                raise BackendUnusable(name, repr(error)) from error

    def _refuse_taken(self, name: str) -> None:
        if name in self._executors:
            raise MlflowException(f"A job executor backend {name!r} is registered already.")

    def _make(self, name: str) -> AbstractJobExecutor:
        type_name, _, instance = name.partition(":")
        if name != name.strip() or (":" in name and not instance.strip()):
            raise UnknownBackend(name, _known_types(), "a name is TYPE or TYPE:INSTANCE.")
        if built_in := _BUILT_IN.get(type_name):
            module, class_name = built_in
            return getattr(importlib.import_module(module), class_name)(self._config)
        candidates = [ep for ep in get_entry_points(ENTRY_POINT_GROUP) if ep.name == type_name]
        if not candidates:
            raise UnknownBackend(name, _known_types(), "no plugin of this name is installed.")
        if len(candidates) > 1:
            values = ", ".join(sorted(entry_point.value for entry_point in candidates))
            raise UnknownBackend(name, _known_types(), f"several plugins claim it: {values}.")
        try:
            return _load_plugin(candidates[0])(self._config)
        except Exception as error:
            raise UnknownBackend(
                name, _known_types(), f"its plugin cannot be loaded: {error!r}"
            ) from error


def _load_plugin(entry_point) -> type[AbstractJobExecutor]:
    plugin = entry_point.load()
    if not (isinstance(plugin, type) and issubclass(plugin, AbstractJobExecutor)):
        raise TypeError(f"{entry_point.value} is not a subclass of AbstractJobExecutor")
    return plugin


def _known_types() -> list[str]:
    return sorted({*_BUILT_IN, *(ep.name for ep in get_entry_points(ENTRY_POINT_GROUP))})


_registry: JobExecutorRegistry | None = None
_registry_lock = threading.Lock()


def get_executor_registry() -> JobExecutorRegistry:
    """The registry of this process, built and checked at the first call.

    A failed check is not remembered: the next call checks again.

    Raises:
        MlflowException: A setting is bad, or a configured backend cannot be used.
    """
    global _registry
    with _registry_lock:
        if _registry is None:
            _registry = _build(JobSettings.from_env())
        return _registry


def shutdown_executor_registry() -> None:
    """Forget the registry of this process. Does not stop its executors."""
    global _registry
    with _registry_lock:
        _registry = None


def validate_executor_config() -> None:
    """Check settings and configured backends before the server spawns anything.

    Raises:
        MlflowException: A setting is bad, or a configured backend cannot be used.
    """
    _build(JobSettings.from_env())


def warm_executor_registry_in_background() -> threading.Thread | None:
    """Build the registry of a web worker before its first submission needs it.

    A backend that is away for a moment later on then stops no submission.

    Returns:
        The thread that builds it, or None where jobs cannot run.
    """
    try:
        if not JobSettings.from_env().enabled:
            return None
        check_requirements()
    except MlflowException:
        # A submission says why, when there is one.
        return None
    thread = threading.Thread(
        target=_warm_executor_registry, name="MLflow-warm-executor-registry", daemon=True
    )
    thread.start()
    return thread


def _warm_executor_registry() -> None:
    try:
        get_executor_registry()
    except Exception as error:  # noqa: BLE001 - root of a thread
        _logger.warning("Job executor backends will be checked at the next submission: %s", error)


def _build(settings: JobSettings) -> JobExecutorRegistry:
    registry = JobExecutorRegistry(
        JobExecutorConfig(
            retry_base_delay=settings.retry_base_delay,
            retry_max_delay=settings.retry_max_delay,
            max_retries=settings.max_retries,
            default_timeout=settings.default_timeout,
            job_lease_ttl=settings.job_lease_ttl,
            completed_job_ttl=settings.completed_job_ttl,
            fork_server=settings.fork_server,
        ),
        settings.remote_tracking_uri,
    )
    registry.configure(settings.backends)
    registry.validate_backends(*settings.backends)
    return registry
