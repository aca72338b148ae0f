"""Read the traces of a window oldest first, a page at a time, each of them once."""

from collections.abc import Iterator

from mlflow.entities import TraceInfo
from mlflow.genai.scorers.online.constants import EXCLUDE_EVAL_RUN_TRACES_FILTER
from mlflow.server.jobs.discovery.batches import Position
from mlflow.store.tracking.abstract_store import AbstractStore

_ORDER = ["timestamp_ms ASC", "request_id ASC"]


def waiting_traces(
    store: AbstractStore,
    experiment_id: str,
    after: Position,
    before_ms: int,
    filter_string: str | None = None,
    page_size: int = 500,
) -> Iterator[Position]:
    """Positions of an experiment's traces, those of evaluation runs left out.

    A page begins at the last millisecond of the one before and not at an offset: a trace deleted
    between two pages would shift the offsets, and the trace that moves up would be passed unseen.
    Within one millisecond there is only the offset, and the order of ids is the database's own; so
    what shares a millisecond is read whole before any of it is answered.

    Args:
        store: The tracking store.
        experiment_id: The experiment to read.
        after: Begin after this position.
        before_ms: End before this time.
        filter_string: Further condition, as users write it for a trace search.
        page_size: Traces read at once.
    """
    since_ms, page_token = after.timestamp_ms, None
    found: set[Position] = set()
    while True:
        infos, page_token = traces_between(
            store, [experiment_id], since_ms, before_ms, filter_string, page_size, page_token
        )
        found.update(Position(info.timestamp_ms, info.trace_id) for info in infos)
        last_ms = max((position.timestamp_ms for position in found), default=since_ms)
        whole_before_ms = last_ms if page_token else before_ms
        yield from sorted(p for p in found if p > after and p.timestamp_ms < whole_before_ms)
        if not page_token:
            return
        if last_ms > since_ms:
            since_ms, page_token = last_ms, None
            after, found = max(after, Position(last_ms)), set()


def traces_between(
    store: AbstractStore,
    experiment_ids: list[str],
    since_ms: int,
    before_ms: int,
    filter_string: str | None = None,
    max_results: int = 500,
    page_token: str | None = None,
) -> tuple[list[TraceInfo], str | None]:
    """One page of the traces that experiments have in a window, and the token of the next.

    Args:
        store: The tracking store.
        experiment_ids: The experiments to read.
        since_ms: Begin of the window.
        before_ms: Its end, exclusive.
        filter_string: Further condition, as users write it for a trace search.
        max_results: Most traces of a page.
        page_token: Which page; None for the first.
    """
    return store.search_traces(
        experiment_ids=experiment_ids,
        filter_string=_condition(since_ms, before_ms, filter_string),
        max_results=max_results,
        order_by=_ORDER,
        page_token=page_token,
    )


def _condition(since_ms: int, before_ms: int, filter_string: str | None) -> str:
    conditions = [
        f"trace.timestamp_ms >= {since_ms}",
        f"trace.timestamp_ms < {before_ms}",
        EXCLUDE_EVAL_RUN_TRACES_FILTER,
    ]
    return " AND ".join(conditions + ([filter_string] if filter_string else []))
