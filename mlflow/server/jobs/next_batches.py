"""Discover again at once where a full batch of online scoring has succeeded; only a hint (I9).

Only the leader acts on it; elsewhere, and when a hint is lost, the next batch comes with the next
pass.
"""

import logging
import threading
from collections.abc import Callable

from mlflow.server.jobs.outcome import Outcome, Succeed
from mlflow.server.jobs.scheduler_lease import SchedulerLease
from mlflow.store.jobs.errors import LeadershipLost
from mlflow.store.jobs.values import ClaimedJob, Term

_logger = logging.getLogger(__name__)

DiscoverExperiment = Callable[[Term, str | None, str], None]


class NextBatches:
    """The experiments whose next batch is wanted now."""

    def __init__(
        self,
        lease: SchedulerLease,
        discover: DiscoverExperiment,
        job_names: frozenset[str],
        workspaces_enabled: bool,
    ) -> None:
        """
        Args:
            lease: Who leads.
            discover: Looks at one experiment: term, workspace, experiment id.
            job_names: The jobs that score batches.
            workspaces_enabled: Whether jobs belong to workspaces.
        """
        self._lease = lease
        self._discover = discover
        self._job_names = job_names
        self._workspaces_enabled = workspaces_enabled
        self._wanted: set[tuple[str | None, str]] = set()
        self._lock = threading.Lock()

    def note(self, job: ClaimedJob, written: Outcome | None) -> bool:
        """Remember the experiment if this process leads and the job's full batch succeeded."""
        experiment_id = job.params.get("experiment_id")
        if (
            job.job_name not in self._job_names
            or not isinstance(written, Succeed)
            or job.params.get("full") is not True
            or not isinstance(experiment_id, str)
            or self._lease.term is None
        ):
            return False
        workspace = job.workspace if self._workspaces_enabled else None
        with self._lock:
            self._wanted.add((workspace, experiment_id))
        return True

    def beat(self) -> None:
        """Discover in all noted experiments, if this process leads; comes again when woken."""
        with self._lock:
            wanted, self._wanted = self._wanted, set()
        for workspace, experiment_id in wanted:
            term = self._lease.term
            if term is None:
                return
            try:
                self._discover(term, workspace, experiment_id)
            except LeadershipLost as e:
                _logger.info("The next batch waits for the next leader: %s", e.message)
                return
