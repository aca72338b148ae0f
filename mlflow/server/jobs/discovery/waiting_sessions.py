"""Read the completed sessions of a window by their last trace, each of them once.

A session is complete when its last trace lies before the end of the window; one that goes on later
is complete again then, and waits again. A filter is about a session's first trace.
"""

from collections.abc import Iterator

from mlflow.genai.scorers.online import CompletedSession
from mlflow.server.jobs.discovery.batches import Position
from mlflow.store.tracking.abstract_store import AbstractStore


def waiting_sessions(
    store: AbstractStore,
    experiment_id: str,
    after: Position,
    before_ms: int,
    filter_string: str | None = None,
    page_size: int = 100,
) -> Iterator[CompletedSession]:
    """Sessions in the order of their positions: the time of the last trace, then the id.

    The store limits what it answers after sorting ids in the database's own order, so what shares a
    millisecond is read whole before any of it is answered.

    Args:
        store: The tracking store.
        experiment_id: The experiment to read.
        after: Begin after this position.
        before_ms: End before this time.
        filter_string: Condition on a session's first trace, as users write it for a trace search.
        page_size: Sessions read at once; doubled while that many share one millisecond.
    """
    since_ms = after.timestamp_ms
    while since_ms < before_ms:
        sessions = store.find_completed_sessions(
            experiment_id=experiment_id,
            min_last_trace_timestamp_ms=since_ms,
            max_last_trace_timestamp_ms=before_ms - 1,
            max_results=page_size,
            filter_string=filter_string,
        )
        last_ms = max((each.last_trace_timestamp_ms for each in sessions), default=since_ms)
        more = len(sessions) >= page_size
        if more and last_ms == since_ms:
            page_size *= 2
            continue
        whole = [each for each in sessions if not more or each.last_trace_timestamp_ms < last_ms]
        yield from sorted((each for each in whole if position_of(each) > after), key=position_of)
        if not more:
            return
        since_ms = last_ms


def position_of(session: CompletedSession) -> Position:
    """Where a completed session stands."""
    return Position(session.last_trace_timestamp_ms, session.session_id)
