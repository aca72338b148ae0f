"""Kills the jobs whose leases can no longer be trusted. Keeps I4 outside the database.

It asks nobody: a runner that cannot reach the database, or that was paused, must not keep working
on what another runner may have been given meanwhile. Its thread therefore shares nothing with the
renewals but the instants they left behind.
"""

import logging

from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.owned_jobs import End, OwnedJobs

_logger = logging.getLogger(__name__)


class SelfFencing:
    """One beat: stop what is past its trust deadline."""

    def __init__(self, owned: OwnedJobs, clock: Clock, beat_seconds: float) -> None:
        self._owned = owned
        self._clock = clock
        self._beat_seconds = beat_seconds

    def beat(self) -> float:
        """Kill, and answer when to look again, in seconds."""
        now = self._clock.monotonic()
        for job in self._owned.all():
            if now >= job.trust_until and job.end is not End.LOST:
                _logger.error(
                    "Job %s (fence %d) is stopped here: its lease was not renewed in time",
                    job.claim.job_id,
                    job.claim.fence,
                )
                job.stop(End.LOST)
            else:
                job.kill_if_due()
        return self._beat_seconds
