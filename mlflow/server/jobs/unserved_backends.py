"""Tell an operator, once, that jobs wait for a backend which this leader does not have (I3)."""

import logging
from collections.abc import Collection

from mlflow.server.jobs.clock import Clock
from mlflow.store.jobs.abstract_store import AbstractJobStore

_logger = logging.getLogger(__name__)

_LOOK_SECONDS = 60.0


class UnservedBackends:
    """The leader's look, once a minute, at which backends the waiting jobs name."""

    def __init__(
        self, store: AbstractJobStore, served: Collection[str | None], clock: Clock
    ) -> None:
        self._store = store
        self._served = served
        self._clock = clock
        self._next_look = 0.0
        self._reported: set[str] = set()

    def report(self) -> None:
        """Log each backend whose jobs wait and which is not configured here."""
        if self._clock.monotonic() < self._next_look:
            return
        self._next_look = self._clock.monotonic() + _LOOK_SECONDS
        unserved = {name for name in self._store.waiting_backends() if name not in self._served}
        for name in sorted(unserved - self._reported):
            count, is_all = self._store.count_waiting(name)
            if self._store.is_served(name):
                continue
            _logger.warning(
                "%s%d jobs wait for the executor backend %r, which is not configured on this "
                "server, and no other server runs jobs on it",
                "" if is_all else "At least ",
                count,
                name,
            )
            self._reported.add(name)
        self._reported &= unserved
