"""Kills the jobs whose leases can no longer be trusted. Keeps I4 outside the database.

It asks nobody: a runner that cannot reach the database, or that was paused, must not keep working
on what another runner may have been given meanwhile. Its thread therefore shares nothing with the
renewals but the instants they left behind.

A runner that is paused cannot do even that, so each beat tells its watchdog until when the next
must have come. What is owned anew is looked at at once: its work may begin before the next beat,
and the answer to its claim may have come too late.
"""

import logging
import math
import threading
from collections.abc import Callable

from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.owned_jobs import End, OwnedJobs

_logger = logging.getLogger(__name__)


class SelfFencing:
    """One beat: stop what is past its trust deadline."""

    def __init__(
        self,
        owned: OwnedJobs,
        clock: Clock,
        beat_seconds: float,
        grace_seconds: float = 0.0,
        expect_sign_by: Callable[[float], None] | None = None,
    ) -> None:
        """
        Args:
            owned: What is fenced.
            clock: The clock of the trust deadlines.
            beat_seconds: The longest time between two looks.
            grace_seconds: How long after a trust deadline the watchdog waits for this thread.
            expect_sign_by: Tells the watchdog, if there is one.
        """
        self._owned = owned
        self._clock = clock
        self._beat_seconds = beat_seconds
        self._grace_seconds = grace_seconds
        self._expect_sign_by = expect_sign_by
        # Of two threads that tell, the later one must have looked later.
        self._telling = threading.Lock()
        owned.call_after_add(self.fence)

    def beat(self) -> float:
        """Kill, and answer when to look again, in seconds."""
        self.fence()
        left = self._first_deadline() - self._clock.monotonic()
        return min(self._beat_seconds, max(left, 0.0))

    def fence(self) -> None:
        """Kill what is past its deadline, and let the watchdog expect what is due next."""
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
        if self._expect_sign_by is not None:
            with self._telling:
                self._expect_sign_by(self._first_deadline() + self._grace_seconds)

    def _first_deadline(self) -> float:
        trusted = (job.trust_until for job in self._owned.all() if job.end is not End.LOST)
        return min(trusted, default=math.inf)
