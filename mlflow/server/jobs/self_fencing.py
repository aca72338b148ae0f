"""Kills the jobs whose leases can no longer be trusted. Keeps I4 outside the database.

It asks nobody: a runner that cannot reach the database, or that was paused, must not keep working
on what another runner may have been given meanwhile. Its thread therefore shares nothing with the
renewals but the instants they left behind.

A runner that is paused cannot do even that, so each beat tells its watchdog until when the next
must have come. What is owned anew is looked at at once: its work may begin before the next beat,
and the answer to its claim may have come too late. The watchdog is told of it then only if it was
not to act by that instant anyway: it waits for the beat, which comes before either.

While nothing is owned there is nothing to look at, and a beat is rare; the first job ends that.
"""

import logging
import math
import threading
from collections.abc import Callable, Iterable, Sequence

from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.owned_jobs import End, OwnedJob, OwnedJobs

_logger = logging.getLogger(__name__)

# More than a watchdog's rest, after which such a beat ends it, also where the loop shortens it.
_IDLE_BEAT_SECONDS = 35.0


class SelfFencing:
    """One beat: stop what is past its trust deadline."""

    def __init__(
        self,
        owned: OwnedJobs,
        clock: Clock,
        beat_seconds: float,
        grace_seconds: float = 0.0,
        expect_sign_by: Callable[[float], None] | None = None,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            owned: What is fenced.
            clock: The clock of the trust deadlines.
            beat_seconds: The longest time between two looks, while anything is owned.
            grace_seconds: How long after a trust deadline the watchdog waits for this thread.
            expect_sign_by: Tells the watchdog, if there is one.
            wake: Asks for a beat soon.
        """
        self._owned = owned
        self._clock = clock
        self._beat_seconds = beat_seconds
        self._grace_seconds = grace_seconds
        self._expect_sign_by = expect_sign_by
        self._wake = wake
        self._is_idle = False
        # Of two threads that tell, the later one must have looked later.
        self._telling = threading.Lock()
        self._told = math.inf
        owned.call_after_add(self._begin)

    def beat(self) -> float:
        """Kill, and answer when to look again, in seconds."""
        # Before the look: who adds a job after it finds this set, and wakes.
        self._is_idle = True
        self.fence()
        if not self._owned.all():
            return _IDLE_BEAT_SECONDS
        self._is_idle = False
        left = self._first_deadline() - self._clock.monotonic()
        return min(self._beat_seconds, max(left, 0.0))

    def fence(self) -> None:
        """Kill what is past its deadline, and let the watchdog expect what is due next."""
        self._stop_due(self._owned.all())
        with self._telling:
            self._tell(self._first_deadline() + self._grace_seconds)

    def _fence_new(self, added: Sequence[OwnedJob]) -> None:
        self._stop_due(added)
        with self._telling:
            instant = _first_deadline(added) + self._grace_seconds
            if instant < self._told:
                self._tell(instant)

    def _stop_due(self, jobs: Iterable[OwnedJob]) -> None:
        for job in jobs:
            if self._clock.monotonic() >= job.trust_until and job.end is not End.LOST:
                _logger.error(
                    "Job %s (fence %d) is stopped here: its lease was not renewed in time",
                    job.claim.job_id,
                    job.claim.fence,
                )
                job.stop(End.LOST)
            else:
                job.kill_if_due()

    def _tell(self, instant: float) -> None:
        self._told = instant
        if self._expect_sign_by is not None:
            self._expect_sign_by(instant)

    def _begin(self, added: Sequence[OwnedJob]) -> None:
        self._fence_new(added)
        if self._is_idle:
            self._is_idle = False
            self._wake()

    def _first_deadline(self) -> float:
        return _first_deadline(self._owned.all())


def _first_deadline(jobs: Iterable[OwnedJob]) -> float:
    trusted = (job.trust_until for job in jobs if job.end is not End.LOST)
    return min(trusted, default=math.inf)
