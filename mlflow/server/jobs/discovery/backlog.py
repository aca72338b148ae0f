"""Say in the log how far online scoring is behind, and when it has caught up."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone

_logger = logging.getLogger(__name__)

# A minute's batches are often done only with the next minute's look.
_BEHIND_MS = 15 * 60_000
_REPEAT_MS = 15 * 60_000


@dataclass(frozen=True)
class Backlog:
    """What was waiting at the end of one cycle.

    Attributes:
        experiments: How many experiments are behind.
        oldest_ms: Since when the furthest of them has traces or sessions that wait; None if no
            experiment is behind.
        experiment_id: The furthest of them.
    """

    experiments: int = 0
    oldest_ms: int | None = None
    experiment_id: str | None = None


def backlog_of(waiting: Iterable[tuple[str, int]], now_ms: int) -> Backlog:
    """Sum up what is known to wait.

    Args:
        waiting: Experiment ids, each with a time since when something waits there.
        now_ms: The database's time.
    """
    behind = [(since_ms, each) for each, since_ms in waiting if now_ms - since_ms > _BEHIND_MS]
    if not behind:
        return Backlog()
    oldest_ms, furthest = min(behind)
    return Backlog(len({each for _, each in behind}), oldest_ms, furthest)


class BacklogReport:
    """Warns of what is behind for a second cycle, now and again, and says when nothing is any more.

    A single cycle says little: whoever switches a scorer on is an hour behind at first.
    """

    def __init__(self) -> None:
        self._was_behind = False
        self._warned_at_ms: int | None = None

    def note(self, backlog: Backlog, now_ms: int) -> None:
        """Log what the operator does not know yet."""
        is_behind = backlog.oldest_ms is not None
        if not is_behind and self._warned_at_ms is not None:
            _logger.info("Online scoring has caught up in all experiments")
            self._warned_at_ms = None
        if is_behind and self._was_behind and self._is_news(now_ms):
            self._warned_at_ms = now_ms
            since = datetime.fromtimestamp(backlog.oldest_ms / 1000, timezone.utc)
            _logger.warning(
                "Online scoring is behind in %d experiment(s); furthest in experiment %s, where "
                "what came since %s (UTC) waits",
                backlog.experiments,
                backlog.experiment_id,
                since.strftime("%Y-%m-%d %H:%M:%S"),
            )
        self._was_behind = is_behind

    def _is_news(self, now_ms: int) -> bool:
        return self._warned_at_ms is None or now_ms - self._warned_at_ms >= _REPEAT_MS
