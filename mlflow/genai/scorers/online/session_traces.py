"""The traces of one completed session, oldest first, those of evaluation runs left out."""

from typing import Any

from mlflow.entities import Trace
from mlflow.genai.scorers.online.constants import EXCLUDE_EVAL_RUN_TRACES_FILTER, MAX_TRACES_PER_JOB
from mlflow.genai.scorers.online.trace_loader import OnlineTraceLoader
from mlflow.store.tracking.abstract_store import AbstractStore
from mlflow.tracing.constant import TraceMetadataKey

_PAGE = 100


def traces_of_session(
    store: AbstractStore, loader: OnlineTraceLoader, experiment_id: str, entry: dict[str, Any]
) -> list[Trace]:
    """Load a session's first traces, up to the one that was its last when it was found complete.

    Args:
        store: Where traces are searched.
        loader: Where full traces come from.
        experiment_id: The experiment of the session.
        entry: Its id and the times of its first and last trace, as discovery names it.
    """
    trace_ids = _trace_ids(store, experiment_id, entry)
    return sorted(loader.fetch_traces(trace_ids), key=lambda trace: trace.info.timestamp_ms)


def _trace_ids(store: AbstractStore, experiment_id: str, entry: dict[str, Any]) -> list[str]:
    session_id = entry["session_id"]
    conditions = [
        f"trace.timestamp_ms >= {entry['first_trace_timestamp_ms']}",
        f"trace.timestamp_ms <= {entry['last_trace_timestamp_ms']}",
        EXCLUDE_EVAL_RUN_TRACES_FILTER,
    ]
    # A filter has no escapes: an id with both kinds of quotes cannot be written in it.
    quote = next((mark for mark in "'\"" if mark not in session_id), None)
    if quote:
        column = f"metadata.`{TraceMetadataKey.TRACE_SESSION}`"
        conditions.append(f"{column} = {quote}{session_id}{quote}")

    found, page_token = [], None
    while len(found) < MAX_TRACES_PER_JOB:
        infos, page_token = store.search_traces(
            experiment_ids=[experiment_id],
            filter_string=" AND ".join(conditions),
            max_results=_PAGE,
            order_by=["timestamp_ms ASC", "request_id ASC"],
            page_token=page_token,
        )
        found += [info.trace_id for info in infos if quote or _is_of(session_id, info)]
        if not page_token:
            break
    return found[:MAX_TRACES_PER_JOB]


def _is_of(session_id: str, info) -> bool:
    return (info.trace_metadata or {}).get(TraceMetadataKey.TRACE_SESSION) == session_id
