"""Mark what is stale (T9). Keeps I3 for jobs whose runner died."""

import logging

from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.values import Term

_logger = logging.getLogger(__name__)

_ROWS_PER_STATEMENT = 1000


class Sweep:
    """The leader's look for RUNNING jobs with an expired lease, or past 115% of their timeout."""

    def __init__(self, store: AbstractJobStore) -> None:
        self._store = store

    def run(self, term: Term) -> int:
        """Mark all that is stale now; answer how many jobs that were."""
        swept = 0
        while marked := self._store.sweep(term, limit=_ROWS_PER_STATEMENT):
            swept += marked
            if marked < _ROWS_PER_STATEMENT:
                break
        if swept:
            _logger.warning("%d stale jobs are left to recovery", swept)
        return swept
