"""Renew the job leases that this runner owns (T4). Keeps I1 and I7."""

from collections.abc import Callable

from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.owned_jobs import OwnedJobs
from mlflow.server.jobs.trust import trust_deadline
from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.values import Claim

_BEATS_PER_LEASE = 3


class Renewals:
    """One statement per beat for all owned jobs, and none while there are none."""

    def __init__(
        self,
        store: AbstractJobStore,
        owned: OwnedJobs,
        clock: Clock,
        lease_seconds: float,
        on_not_renewed: Callable[[list[Claim]], None],
    ) -> None:
        """
        Args:
            store: The job store.
            owned: What is renewed.
            clock: The clock of the trust deadlines.
            lease_seconds: How long a renewal lasts.
            on_not_renewed: Told the claims whose rows are not RUNNING under their fence any more.
        """
        self._store = store
        self._owned = owned
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._on_not_renewed = on_not_renewed

    def beat(self) -> float:
        """Renew, and answer when to renew again, in seconds."""
        asked_at = self._clock.monotonic()
        claims = self._owned.held_claims()
        if claims:
            lost = self._store.renew(claims, self._lease_seconds)
            kept = [claim for claim in claims if claim not in lost]
            self._owned.trust(kept, until=trust_deadline(asked_at, self._lease_seconds))
            if lost:
                self._on_not_renewed([*lost])
        spent = self._clock.monotonic() - asked_at
        return max(self._lease_seconds / _BEATS_PER_LEASE - spent, 0.0)
