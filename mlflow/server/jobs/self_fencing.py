"""Kills the jobs whose leases can no longer be trusted. Keeps I4 outside the database.

It asks nobody: a runner that cannot reach the database, or that was paused, must not keep working
on what another runner may have been given meanwhile. Its thread therefore shares nothing with the
renewals but the instants they left behind. It also says each time until when all that is left can
be trusted; what hears it stops the work of a runner that cannot even do this (`local/warden`).
"""

import logging
from collections.abc import Callable

from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.owned_jobs import End, OwnedJobs
from mlflow.server.jobs.trust import trust_deadline

# Half of what `trust_deadline` leaves of a lease, so that work is stopped before that has run out.
_BEAT_SHARE = 1 / 12
_LONGEST_BEAT_SECONDS = 1.0

_logger = logging.getLogger(__name__)


class SelfFencing:
    """One beat: stop what is past its trust deadline."""

    def __init__(
        self,
        owned: OwnedJobs,
        clock: Clock,
        lease_seconds: float,
        on_trusted: Callable[[float], None] = lambda instant: None,
    ) -> None:
        """
        Args:
            owned: What is watched.
            clock: The clock of the trust deadlines.
            lease_seconds: The duration of a job lease.
            on_trusted: Told the instant after which no job of this runner may be at work, unless it
                is told another before.
        """
        self._owned = owned
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._on_trusted = on_trusted

    def beat(self) -> float:
        """Kill, and answer when to look again, in seconds."""
        for job in self._owned.all():
            if self._clock.monotonic() >= job.trust_until and job.end is not End.LOST:
                _logger.error(
                    "Job %s (fence %d) is stopped here: its lease was not renewed in time",
                    job.claim.job_id,
                    job.claim.fence,
                )
                job.stop(End.LOST)
            else:
                job.kill_if_due()
        self.say()
        return min(self._lease_seconds * _BEAT_SHARE, _LONGEST_BEAT_SECONDS)

    def say(self) -> None:
        """Say until when all that is left can be trusted."""
        # What is claimed from now on can be trusted as long.
        earliest = trust_deadline(self._clock.monotonic(), self._lease_seconds)
        for job in self._owned.all():
            if job.end is not End.LOST:
                earliest = min(earliest, job.trust_until)
        # The work of one lost job must not end that of all: a beat comes first.
        self._on_trusted(earliest + self._lease_seconds * _BEAT_SHARE)
