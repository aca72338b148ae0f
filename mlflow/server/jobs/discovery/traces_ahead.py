"""Read the traces that wait in many experiments at once, ahead of the looks at them.

A search for traces is several statements, however few it finds. Where there are a few new ones in
each of thousands of experiments, one search answers for many.
"""

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable

from mlflow.exceptions import MlflowException
from mlflow.genai.scorers.online.constants import MAX_LOOKBACK_MS
from mlflow.server.jobs.discovery.batches import Candidate, Position
from mlflow.server.jobs.discovery.levels import TRACES, trace_candidate
from mlflow.server.jobs.discovery.line import Sight, Visit
from mlflow.server.jobs.discovery.waiting_traces import traces_between
from mlflow.store.tracking.abstract_store import AbstractStore

# One in which very many wait takes the others of its search along, which are read one by one then.
_EXPERIMENTS_AT_ONCE = 25
_TRACES_AT_ONCE = 500


class TracesAhead:
    """What waits, whatever filters let through, in experiments that are looked at in turn.

    Args:
        tracking_store: Where the traces are.
        visits: In the order of the looks.
    """

    def __init__(self, tracking_store: AbstractStore, visits: Iterable[Visit] = ()) -> None:
        self._tracking_store = tracking_store
        self._ahead: dict[str, deque[Sight]] = defaultdict(deque)
        for visit in visits:
            self._ahead[visit.experiment.workspace].extend(
                sight
                for sight in visit.sights
                if sight.level is TRACES and sight.checkpoint is not None and not sight.is_ahead
            )
        self._unread = {sight.key for ahead in self._ahead.values() for sight in ahead}
        self._read: dict[Hashable, list[Candidate]] = {}

    def of(self, sight: Sight) -> list[Candidate] | None:
        """What waits after its checkpoint, in order; None if it is not known ahead.

        To be called in its workspace.
        """
        if sight.key in self._unread:
            ahead = self._ahead[sight.experiment.workspace]
            while ahead[0] is not sight:
                self._unread.remove(ahead.popleft().key)
            self._read_on(ahead)
        return self._read.pop(sight.key, None)

    def _read_on(self, ahead: deque[Sight]) -> None:
        some = [ahead.popleft()]
        while ahead and len(some) < _EXPERIMENTS_AT_ONCE and _are_near(some[0], ahead[0]):
            some.append(ahead.popleft())
        self._unread.difference_update(each.key for each in some)
        since_ms = min(each.checkpoint.timestamp_ms for each in some)
        try:
            infos, more = traces_between(
                self._tracking_store,
                [each.experiment.experiment_id for each in some],
                since_ms,
                some[0].window_end_ms,
                max_results=_TRACES_AT_ONCE,
            )
        # Each is read in its own turn then, which says what is wrong.
        except MlflowException:
            return
        if more:
            return
        found = defaultdict(list)
        for info in infos:
            found[info.experiment_id].append(Position(info.timestamp_ms, info.trace_id))
        for each in some:
            positions = sorted(found[each.experiment.experiment_id])
            self._read[each.key] = [trace_candidate(p) for p in positions if p > each.checkpoint]


def _are_near(one: Sight, other: Sight) -> bool:
    """Whether a search from the earlier checkpoint finds little before the later one."""
    apart_ms = abs(one.checkpoint.timestamp_ms - other.checkpoint.timestamp_ms)
    return apart_ms <= MAX_LOOKBACK_MS
