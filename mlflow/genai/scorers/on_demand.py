"""Score traces that somebody named, and answer what each of them got.

A job that its runner's end has cut short is run again. What it stored before says in its metadata
which job stored it, and stands: nothing is scored twice by one job, whoever asks anew gets another.
"""

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

from mlflow.entities import Assessment, Feedback, Trace
from mlflow.environment_variables import (
    _MLFLOW_SERVER_JOB_ID,
    MLFLOW_GENAI_EVAL_MAX_WORKERS,
    MLFLOW_SERVER_SCORER_INVOKE_BATCH_SIZE,
)
from mlflow.exceptions import MlflowException
from mlflow.genai.evaluation import harness, session_utils
from mlflow.genai.evaluation.entities import EvalItem
from mlflow.genai.scorers.base import (
    SCORER_BACKEND_TRACKING,
    Scorer,
    _job_executor_scorer_context,
    warn_session_level_unsupported_online,
)
from mlflow.genai.scorers.model_client import import_model_client
from mlflow.genai.scorers.online.answer_parts import is_whole, missing_parts
from mlflow.genai.scorers.online.trace_loader import OnlineTraceLoader
from mlflow.store.tracking.abstract_store import AbstractStore
from mlflow.tracing.constant import TraceMetadataKey

STORED_BY_JOB = "mlflow.assessment.jobId"

# Called with the number done and the number to do.
OnProgress = Callable[[int, int], None]


def _unseen(done: int, total: int) -> None:
    """Nobody wants to know."""


@dataclass
class ScorerFailure:
    """Why a scorer gave no usable answer for a trace."""

    error_code: str
    error_message: str


@dataclass
class TraceResult:
    """What one trace got: assessments as dictionaries, and failures."""

    assessments: list[Any] = field(default_factory=list)
    failures: list[ScorerFailure] = field(default_factory=list)


def load_registered_scorer(
    serialized_scorer: str, experiment_id: str, scorer_version: int | None
) -> Scorer:
    """Load a scorer for running it here; a custom one is compiled from its stored source.

    Raises:
        MlflowException: The scorer cannot be loaded, or custom scorers are not enabled.
    """
    with _job_executor_scorer_context():
        scorer = Scorer.model_validate_json(serialized_scorer)
    if scorer_version is not None:
        registration = {"experiment_id": experiment_id, "scorer_version": scorer_version}
        scorer._set_registration_metadata(
            backend=SCORER_BACKEND_TRACKING, sampling_config=None, **registration
        )
    return scorer


def get_trace_batches_for_scorer(
    trace_ids: list[str], scorer: Scorer, tracking_store: AbstractStore
) -> list[list[str]]:
    """Cut trace ids into the lists that one job each scores.

    A session-level scorer gets one list per session, oldest trace first, and no list for traces
    without a session. Any other scorer gets lists of `MLFLOW_SERVER_SCORER_INVOKE_BATCH_SIZE`.
    """
    if scorer.is_session_level_scorer:
        return list(_group_traces_by_session_id(trace_ids, tracking_store).values())
    size = MLFLOW_SERVER_SCORER_INVOKE_BATCH_SIZE.get()
    return [trace_ids[start : start + size] for start in range(0, len(trace_ids), size)]


def _group_traces_by_session_id(
    trace_ids: list[str], tracking_store: AbstractStore
) -> dict[str, list[str]]:
    sessions = defaultdict(list)
    for info in tracking_store.batch_get_trace_infos(trace_ids):
        if session_id := (info.trace_metadata or {}).get(TraceMetadataKey.TRACE_SESSION):
            sessions[session_id].append(info)
    return {
        session_id: [info.trace_id for info in sorted(infos, key=_undated_last)]
        for session_id, infos in sessions.items()
    }


def _undated_last(info) -> float:
    return info.timestamp_ms or float("inf")


def _fetch_traces_batch(trace_ids: list[str], tracking_store: AbstractStore) -> dict[str, Trace]:
    traces = {
        trace.info.trace_id: trace
        for trace in OnlineTraceLoader(tracking_store).fetch_traces(trace_ids)
    }
    if missing := [trace_id for trace_id in trace_ids if trace_id not in traces]:
        raise MlflowException(f"Traces not found: {missing}")
    return traces


def _run_session_scorer(
    scorer: Scorer,
    trace_ids: list[str],
    tracking_store: AbstractStore,
    log_assessments: bool,
    progress_of: Callable[[str], OnProgress] = lambda unit: _unseen,
) -> dict[str, TraceResult]:
    on_progress = progress_of("sessions")
    on_progress(0, 1)
    traces = _fetch_traces_batch(trace_ids, tracking_store)
    results = _score_session_traces(scorer, [traces[tid] for tid in trace_ids], log_assessments)
    on_progress(1, 1)
    return results


def _run_single_turn_scorer_batch(
    scorer: Scorer,
    trace_ids: list[str],
    tracking_store: AbstractStore,
    log_assessments: bool,
    progress_of: Callable[[str], OnProgress] = lambda unit: _unseen,
) -> dict[str, TraceResult]:
    traces = _fetch_traces_batch(trace_ids, tracking_store)
    return _score_single_turn_traces(scorer, traces, log_assessments, progress_of("traces"))


def _score_session_traces(
    scorer: Scorer, traces: list[Trace], log_assessments: bool
) -> dict[str, TraceResult]:
    """Score one conversation; the answer stands at its first trace."""
    if scorer.session_level is not None:
        warn_session_level_unsupported_online(scorer.name)
    items = [EvalItem.from_trace(trace) for trace in traces]
    first = session_utils.get_first_trace_in_session(items).trace
    session_id = (first.info.trace_metadata or {}).get(TraceMetadataKey.TRACE_SESSION)
    if not session_id:
        raise MlflowException(
            f"Trace {first.info.trace_id} belongs to no session: a session-level scorer needs "
            f"'{TraceMetadataKey.TRACE_SESSION}' in the metadata of its traces."
        )

    def score() -> list[Feedback]:
        return session_utils.evaluate_session_level_scorers(
            session_id=session_id, session_items=items, multi_turn_scorers=[scorer]
        ).assessments

    return {first.info.trace_id: _result_of(score, first, log_assessments)}


def _score_single_turn_traces(
    scorer: Scorer,
    trace_map: dict[str, Trace],
    log_assessments: bool,
    on_progress: OnProgress = _unseen,
) -> dict[str, TraceResult]:
    """Score each trace by itself, several at a time."""

    def score_one(trace: Trace) -> TraceResult:
        def score() -> list[Feedback]:
            item = EvalItem.from_trace(trace)
            return harness._compute_eval_scores(eval_item=item, scorers=[scorer]).assessments

        return _result_of(score, trace, log_assessments)

    import_model_client([scorer])
    workers = max(1, min(len(trace_map), MLFLOW_GENAI_EVAL_MAX_WORKERS.get()))
    on_progress(0, len(trace_map))
    with ThreadPoolExecutor(workers, thread_name_prefix="MlflowScorerInvoke") as pool:
        running = {pool.submit(score_one, trace): key for key, trace in trace_map.items()}
        results = {}
        for done, future in enumerate(as_completed(running), start=1):
            results[running[future]] = future.result()
            on_progress(done, len(trace_map))
    return {trace_id: results[trace_id] for trace_id in trace_map}


def _result_of(
    score: Callable[[], list[Feedback]], trace: Trace, log_assessments: bool
) -> TraceResult:
    # One trace's failure is no other's.
    try:
        feedbacks = standing = _stored_by_this_job(trace) if log_assessments else []
        if not is_whole(standing):
            feedbacks = score()
            if log_assessments:
                missing = _marked(missing_parts(feedbacks, standing))
                harness._log_assessments(run_id=None, trace=trace, assessments=missing)
        return TraceResult(
            assessments=[feedback.to_dictionary() for feedback in feedbacks],
            failures=_extract_failures_from_feedbacks(feedbacks),
        )
    except Exception as error:  # noqa: BLE001 - a scorer may raise anything
        return TraceResult(failures=[ScorerFailure(type(error).__name__, str(error))])


def _stored_by_this_job(trace: Trace) -> list[Assessment]:
    job_id = _MLFLOW_SERVER_JOB_ID.get()
    return [
        assessment
        for assessment in trace.info.assessments or []
        if job_id and (assessment.metadata or {}).get(STORED_BY_JOB) == job_id
    ]


def _marked(feedbacks: list[Feedback]) -> list[Feedback]:
    if job_id := _MLFLOW_SERVER_JOB_ID.get():
        for feedback in feedbacks:
            feedback.metadata = {**(feedback.metadata or {}), STORED_BY_JOB: job_id}
    return feedbacks


def _extract_failures_from_feedbacks(feedbacks: list[Any]) -> list[ScorerFailure]:
    errors = [feedback.error for feedback in feedbacks if feedback.error]
    return [ScorerFailure(error.error_code, error.error_message) for error in errors]
