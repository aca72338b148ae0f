"""When a runner looks for a suspect, that is, a job which may be what runners die of. Keeps I11.

It looks with every poll, and as often while it is too busy to poll, so that suspects get their turn
beside a stream of other work. One that is met without a free slot is looked for again when a slot
of its type is free, and the next one when the one that runs here has ended.
"""

import math
from collections.abc import Collection

from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.owned_jobs import OwnedJobs
from mlflow.server.jobs.pace import POLL_SHARE, Pace
from mlflow.store.jobs.values import Claim


class SuspectTurns:
    """Whose turn it is: a suspect's, or that of ordinary jobs alone.

    Invariant: no turn comes while a suspect runs here, so this runner claims one at a time.
    """

    def __init__(self, owned: OwnedJobs, clock: Clock, pace: Pace) -> None:
        self._owned = owned
        self._clock = clock
        self._pace = pace
        self._look_at = -math.inf
        self._without_slot: frozenset[str] = frozenset()

    def has_come(self, free: Collection[str], without: Collection[Claim] = ()) -> bool:
        """Whether to look for a suspect now.

        Args:
            free: The job types with free slots.
            without: Claims that are about to end.
        """
        is_time = self._clock.monotonic() >= self._look_at
        if not is_time and self._without_slot.isdisjoint(free):
            return False
        return not self._owned.has_suspect(without)

    def looked(self, found: frozenset[str], free: Collection[str]) -> None:
        """Wait for the next poll, or for a slot of those found that have none."""
        self._look_at = self._clock.monotonic() + self._pace.poll_seconds * POLL_SHARE
        self._without_slot = found.difference(free)

    def met_one(self) -> None:
        """Look for the next one as soon as none runs here."""
        self._look_at = -math.inf
