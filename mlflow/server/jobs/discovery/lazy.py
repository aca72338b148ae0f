"""Build discovery when its first pass is due: most servers score nothing online."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mlflow.server.handlers import _get_tracking_store
from mlflow.server.jobs.discovery.online_scoring import OnlineScoringDiscovery
from mlflow.server.jobs.executor_registry import JobExecutorRegistry
from mlflow.server.jobs.remote.online_grants import OnlineGrants
from mlflow.server.jobs.router import JobRouter
from mlflow.server.jobs.settings import JobSettings
from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.values import Term


class LazyDiscovery:
    """Online scoring discovery that is built by the first pass, or by the next if that fails."""

    def __init__(
        self,
        store: AbstractJobStore,
        settings: JobSettings,
        registry: JobExecutorRegistry,
        on_created: Callable[[str, str | None, dict[str, Any]], None],
        on_pass: Callable[[], None],
    ) -> None:
        """
        Args:
            store: The job store of all workspaces.
            settings: The settings of this server.
            registry: The configured backends.
            on_created: Told each job that is created: its id, workspace and params.
            on_pass: Called after a pass that created any.
        """
        self._store = store
        self._settings = settings
        self._registry = registry
        self._on_created = on_created
        self._on_pass = on_pass
        self._has_created = False
        self._lock = threading.Lock()
        self._discovery: OnlineScoringDiscovery | None = None

    def run(self, term: Term) -> None:
        """One pass over all experiments, as the leader of this term."""
        with self._telling():
            self._built().run(term)

    def run_experiment(self, term: Term, workspace: str | None, experiment_id: str) -> None:
        """A look at one experiment, as the leader of this term."""
        with self._telling():
            self._built().run_experiment(term, workspace, experiment_id)

    def _created(self, job_id: str, workspace: str | None, params: dict[str, Any]) -> None:
        self._has_created = True
        self._on_created(job_id, workspace, params)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        finally:
            if self._has_created:
                self._has_created = False
                self._on_pass()

    def _built(self) -> OnlineScoringDiscovery:
        with self._lock:
            if self._discovery is None:
                router = JobRouter(self._settings, self._registry)
                self._discovery = OnlineScoringDiscovery(
                    _get_tracking_store(),
                    self._store,
                    self._settings,
                    router,
                    OnlineGrants(router, self._registry),
                    on_created=self._created,
                )
            return self._discovery
