"""Score named traces in a job container that has no network, and trust nothing that comes back.

The container runs the MLflow of its image, which is stock 3.18.0 by default: the name of the
function that scores inside it, its parameters and the shape of its result are a wire contract.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import AssessmentError, AssessmentSource, AssessmentSourceType, Feedback, Trace
from mlflow.exceptions import MlflowException
from mlflow.genai.evaluation.harness import _log_assessments
from mlflow.genai.scorers.on_demand import (
    ScorerFailure,
    TraceResult,
    _fetch_traces_batch,
    _score_session_traces,
    _score_single_turn_traces,
    load_registered_scorer,
)
from mlflow.genai.scorers.online.answer_parts import is_whole, missing_parts
from mlflow.genai.scorers.online.batch_parts import made_by_version
from mlflow.genai.scorers.scorer_utils import _parse_serialized_scorer
from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR
from mlflow.store.tracking.abstract_store import AbstractStore
from mlflow.tracing.client import TracingClient
from mlflow.tracing.constant import AssessmentMetadataKey, TraceMetadataKey

if TYPE_CHECKING:
    from mlflow.server.jobs.job_container import DockerJobPlan

_SCORE_IN_CONTAINER = "mlflow.genai.scorers.job._score_traces_from_file"
_TRACES_FILE = "traces.json"
_RESERVED_METADATA_PREFIX = "mlflow."


def container_can_score(params: dict[str, Any]) -> bool:
    """True when a scorer job's params name a scorer that is custom code throughout.

    Anything else calls a model, which a container without network cannot.
    """
    try:
        return _is_custom_code_only(_parse_serialized_scorer(params["serialized_scorer"]))
    except (KeyError, TypeError, MlflowException):
        return False


def _is_custom_code_only(scorer_data: Any) -> bool:
    if not isinstance(scorer_data, dict):
        return False
    ensemble = scorer_data.get("ensemble_scorer_data")
    if isinstance(ensemble, dict):
        members = ensemble.get("scorers") or []
        return bool(members) and all(map(_is_custom_code_only, members))
    return scorer_data.get("call_source") is not None


def plan_for_container(
    params: dict[str, Any],
    input_dir: Path,
    container_input_dir: str,
    tracking_store: AbstractStore,
) -> "DockerJobPlan":
    """Write the traces where the container finds them and say what to run on them.

    The plan's `finalize` checks the container's result and logs the assessments, on the traces that
    were read here and on no others.

    Raises:
        MlflowException: The scorer is not custom code throughout, or a trace is missing.
    """
    # Not at the top: job_container imports the facade that loads every job module, this one too.
    from mlflow.server.jobs.job_container import DockerJobPlan

    if not container_can_score(params):
        raise MlflowException.invalid_parameter_value(
            "A job container has no network access and so runs custom @scorer functions only; "
            "this scorer has a part that calls a model."
        )
    trace_ids = list(params["trace_ids"])
    traces = _fetch_traces_batch(trace_ids, tracking_store)
    dumped = json.dumps([traces[trace_id].to_dict() for trace_id in trace_ids])
    (input_dir / _TRACES_FILE).write_text(dumped)
    return DockerJobPlan(
        fn_fullname=_SCORE_IN_CONTAINER,
        params={
            "serialized_scorer": params["serialized_scorer"],
            "traces_path": f"{container_input_dir}/{_TRACES_FILE}",
            "experiment_id": params["experiment_id"],
            "scorer_version": params.get("scorer_version"),
        },
        finalize=_finalizer(params, traces),
    )


def score_traces_from_file(
    serialized_scorer: str,
    traces_path: str,
    experiment_id: str,
    scorer_version: int | None = None,
) -> dict[str, Any]:
    """Score the traces of a file; nothing is logged, since a container reaches no store."""
    scorer = load_registered_scorer(serialized_scorer, experiment_id, scorer_version)
    traces = [Trace.from_dict(entry) for entry in json.loads(Path(traces_path).read_text())]
    if scorer.is_session_level_scorer:
        results = _score_session_traces(scorer, traces, log_assessments=False)
    else:
        by_id = {trace.info.trace_id: trace for trace in traces}
        results = _score_single_turn_traces(scorer, by_id, log_assessments=False)
    return {trace_id: asdict(result) for trace_id, result in results.items()}


def _finalizer(params: dict[str, Any], traces: dict[str, Trace]) -> Callable[[Any], dict[str, Any]]:
    scorer_data = _parse_serialized_scorer(params["serialized_scorer"])
    version = params.get("scorer_version")

    def not_stored_yet(feedbacks: list[Feedback], trace: Trace) -> list[Feedback]:
        standing = [
            assessment
            for assessment in trace.info.assessments or []
            if made_by_version(scorer_data.get("name"), version, assessment)
        ]
        # A whole answer is an earlier one, and who asks again gets another.
        return missing_parts(feedbacks, [] if is_whole(standing) else standing)

    def finalize(value: Any) -> dict[str, Any]:
        if not (isinstance(value, dict) and value.keys() <= traces.keys()):
            raise MlflowException("The job container answered for traces that it was not given.")
        # All of it is parsed before any of it is logged: a result is taken whole or not at all.
        parsed = {trace_id: _trace_result_from_container(raw) for trace_id, raw in value.items()}
        for trace_id, (feedbacks, _) in parsed.items():
            _add_host_metadata(feedbacks, traces[trace_id], scorer_data, version)
        if params.get("log_assessments", True):
            # The store that the traces came from, whatever this process's tracking URI is.
            client = TracingClient(tracking_uri=os.environ.get(BACKEND_STORE_URI_ENV_VAR))
            for trace_id, (feedbacks, _) in parsed.items():
                trace = traces[trace_id]
                missing = not_stored_yet(feedbacks, trace)
                _log_assessments(run_id=None, trace=trace, assessments=missing, client=client)
        return {
            trace_id: asdict(TraceResult([f.to_dictionary() for f in feedbacks], failures))
            for trace_id, (feedbacks, failures) in parsed.items()
        }

    return finalize


def _trace_result_from_container(raw: Any) -> tuple[list[Feedback], list[ScorerFailure]]:
    result = _expect(raw, dict, "trace result")
    assessments = _expect(result.get("assessments") or [], list, "list of assessments")
    failures = _expect(result.get("failures") or [], list, "list of failures")
    return (
        [_feedback_from_container(assessment) for assessment in assessments],
        [_scorer_failure_from_container(failure) for failure in failures],
    )


def _feedback_from_container(raw: Any) -> Feedback:
    """The part of an assessment that a scorer may decide, and no more.

    What acts on other assessments or on the stored row (ids, times, `valid`, `overrides`) and all
    reserved metadata are left behind, and the source is code: code cannot pass for a person.
    """
    assessment = _expect(raw, dict, "assessment")
    name = _expect(assessment.get("assessment_name"), str, "assessment name")
    if not name:
        raise _malformed("assessment name")
    value = _expect(assessment.get("feedback"), dict, "feedback")
    metadata = _expect(assessment.get("metadata") or {}, dict, "metadata")
    kept = {
        key: entry
        for key, entry in metadata.items()
        if not _expect(key, str, "metadata key").startswith(_RESERVED_METADATA_PREFIX)
    }
    source = assessment.get("source")
    source_id = source.get("source_id") if isinstance(source, dict) else None
    return Feedback(
        name=name,
        value=value.get("value"),
        error=_error_from_container(value.get("error")),
        rationale=_expect(assessment.get("rationale"), (str, type(None)), "rationale"),
        source=AssessmentSource(
            source_type=AssessmentSourceType.CODE,
            source_id=source_id if source_id and isinstance(source_id, str) else name,
        ),
        metadata=kept or None,
    )


def _error_from_container(raw: Any) -> AssessmentError | None:
    if raw is None:
        return None
    error = _expect(raw, dict, "assessment error")
    optional_text = (str, type(None))
    return AssessmentError(
        error_code=_expect(error.get("error_code"), str, "error code"),
        error_message=_expect(error.get("error_message"), optional_text, "error message"),
        stack_trace=_expect(error.get("stack_trace"), optional_text, "stack trace"),
    )


def _scorer_failure_from_container(raw: Any) -> ScorerFailure:
    failure = _expect(raw, dict, "failure")
    return ScorerFailure(
        error_code=_expect(failure.get("error_code"), str, "error code"),
        error_message=_expect(failure.get("error_message"), str, "error message"),
    )


def _expect(value: Any, types: type | tuple[type, ...], what: str) -> Any:
    if not isinstance(value, types):
        raise _malformed(what)
    return value


def _malformed(what: str) -> MlflowException:
    return MlflowException(
        f"A job container answered with a malformed {what}; nothing of it is kept."
    )


def _add_host_metadata(
    feedbacks: list[Feedback],
    trace: Trace,
    scorer_data: dict[str, Any],
    scorer_version: int | None,
) -> None:
    """Add the reserved metadata that scoring on this host would have added."""
    session_id = (trace.info.trace_metadata or {}).get(TraceMetadataKey.TRACE_SESSION)
    trusted = {}
    if session_id and scorer_data.get("is_session_level_scorer"):
        trusted[TraceMetadataKey.TRACE_SESSION] = session_id
    if scorer_version is not None:
        trusted |= {
            AssessmentMetadataKey.SCORER_NAME: scorer_data.get("name"),
            AssessmentMetadataKey.SCORER_VERSION: str(scorer_version),
        }
    for feedback in feedbacks:
        feedback.metadata = {**(feedback.metadata or {}), **trusted} or None
