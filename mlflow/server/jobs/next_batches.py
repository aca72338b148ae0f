"""Discover again at once where a full batch of online scoring has succeeded; only a hint (I9).

The leader remembers the full batches that it has put into jobs, and looks what became of them: when
told that one has succeeded, here or on another replica, and every few seconds where nobody would
tell. It sends nothing while there are none. When a hint is lost, or the leader changes, the next
batch comes with the next pass.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

from mlflow.entities._job_status import JobStatus
from mlflow.server.jobs.outcome import Outcome, Succeed
from mlflow.server.jobs.pace import Pace
from mlflow.server.jobs.scheduler_lease import SchedulerLease
from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.errors import LeadershipLost
from mlflow.store.jobs.values import ClaimedJob, Term

_logger = logging.getLogger(__name__)

DiscoverExperiment = Callable[[Term, str | None, str], None]

_UNFINISHED = (JobStatus.PENDING, JobStatus.RUNNING, JobStatus.NEEDS_RECOVERY)


def is_full_batch(job: ClaimedJob, written: Outcome | None, job_names: frozenset[str]) -> bool:
    """Whether the leader should hear of the end of this job."""
    return (
        job.job_name in job_names
        and isinstance(written, Succeed)
        and job.params.get("full") is True
    )


class NextBatches:
    """The full batches whose success this leader waits for."""

    def __init__(
        self,
        store: AbstractJobStore,
        lease: SchedulerLease,
        discover: DiscoverExperiment,
        pace: Pace,
        on_expected: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            store: Tells what became of jobs.
            lease: Who leads.
            discover: Looks at one experiment: term, workspace, experiment id.
            pace: How often to look unasked.
            on_expected: Told when there is something to wait for.
        """
        self._store = store
        self._lease = lease
        self._discover = discover
        self._pace = pace
        self._on_expected = on_expected
        self._expected: dict[str, tuple[str | None, str]] = {}
        self._lock = threading.Lock()

    def expect(self, job_id: str, workspace: str | None, params: dict[str, Any]) -> None:
        """This leader has put a batch into a job; it matters here if there was more than that."""
        if params.get("full") is not True:
            return
        with self._lock:
            self._expected[job_id] = (workspace, params["experiment_id"])
        self._on_expected()

    def beat(self) -> float | None:
        """Discover where an expected batch has succeeded; answer when to look unasked."""
        for workspace, experiment_id in self._succeeded():
            term = self._lease.term
            if term is None:
                return None
            try:
                self._discover(term, workspace, experiment_id)
            except LeadershipLost as e:
                _logger.info("The next batch waits for the next leader: %s", e.message)
                return None
        with self._lock:
            return self._pace.next_batch_look_seconds if self._expected else None

    def _succeeded(self) -> list[tuple[str | None, str]]:
        with self._lock:
            if self._lease.term is None:
                self._expected.clear()
            expected = [*self._expected]
        if not expected:
            return []
        found = self._store.statuses(expected)
        with self._lock:
            # A row that is gone is waited for no more.
            ended = {
                job_id: self._expected.pop(job_id)
                for job_id in expected
                if found.get(job_id) not in _UNFINISHED
            }
        return [
            place for job_id, place in ended.items() if found.get(job_id) is JobStatus.SUCCEEDED
        ]
