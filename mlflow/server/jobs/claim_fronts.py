"""Where the queue of each job type begins: a busy runner need not read what it has worked off.

A job that ended stays in the index of those that wait until no transaction may see it as it was.
While one lasts (a dump, a report), a claim would pass every job that ended since that began. So
where one claim after another fills its slots, the next begins where the last one came to.

What it passes over by that are jobs that became due again as they were, or whose submission was
committed late. They wait for the next claim of all: a moment, or not at all where a slot is free.
"""

from collections.abc import Collection, Mapping

from mlflow.server.jobs.clock import Clock
from mlflow.store.jobs.values import ClaimBatch

WHOLE_SECONDS = 1.0
# A job that was submitted so much before another one is visible before it, as a rule.
COMMITTED_LATE_MS = 1000


class ClaimFronts:
    """Of each job type, from when on a claim may read.

    Invariant (I3): no due job is passed over for longer than `WHOLE_SECONDS`, nor by a claim that
    leaves a slot of its type free, unless one that passes over nothing follows at once.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # For those of which the last claim filled its slots, with how long that may be believed.
        self._fronts: dict[str, tuple[int, float]] = {}

    def of(self, job_names: Collection[str]) -> dict[str, int]:
        """Answer `created_since` of the next claim, which is for these job types."""
        now = self._clock.monotonic()
        return {
            name: created_at
            for name, (created_at, whole_at) in self._fronts.items()
            if name in job_names and now < whole_at
        }

    def met(
        self, batch: ClaimBatch, job_names: Collection[str], passed: Mapping[str, int]
    ) -> frozenset[str]:
        """Note what a claim came to.

        Args:
            batch: What it met.
            job_names: What it was for.
            passed: What `of` answered for it.

        Returns:
            The job types of which it left a slot free although jobs may wait.
        """
        now = self._clock.monotonic()
        for name in job_names:
            before = self._fronts.pop(name, None)
            if name not in batch.filled:
                continue
            whole_at = now
            if name in passed:
                _, whole_at = before
            elif before:
                whole_at = now + WHOLE_SECONDS
            if name in batch.newest:
                self._fronts[name] = batch.newest[name] - COMMITTED_LATE_MS, whole_at
            elif name in passed:
                self._fronts[name] = passed[name], whole_at
        return frozenset(passed) - batch.filled
