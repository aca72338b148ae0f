"""Carry a CANCELED row to the backend that runs its job (T8, its first half)."""

import logging
from collections.abc import Sequence

from mlflow.entities._job_status import JobStatus
from mlflow.server.jobs.owned_jobs import End, OwnedJobs
from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.values import Claim

_logger = logging.getLogger(__name__)

_BEAT_SECONDS = 1.0


class Cancellation:
    """Stops the work of rows that are not RUNNING under our fence any more, and says why."""

    def __init__(self, store: AbstractJobStore, owned: OwnedJobs) -> None:
        self._store = store
        self._owned = owned

    def beat(self) -> float:
        """Look at all owned jobs in one statement; none is sent while there are none."""
        self.settle(self._owned.held_claims())
        return _BEAT_SECONDS

    def settle(self, claims: Sequence[Claim]) -> None:
        """Stop those of `claims` whose row is canceled, deleted, or no longer ours."""
        if not claims:
            return
        for claim, status in self._store.not_running(claims).items():
            job = self._owned.get(claim)
            if job is None or job.recording:
                continue
            if status is JobStatus.SUCCEEDED:
                # Reported by the work itself, which is about to end.
                continue
            # I1: only a CANCELED row still awaits a word of its owner; any other has a new one.
            end = End.CANCELED if status is JobStatus.CANCELED else End.LOST
            _logger.info("Job %s (fence %d) is %s", claim.job_id, claim.fence, end.value)
            job.stop(end)
