"""What scoring a batch takes, be it of traces or of sessions: scorers, limits, logging, counts."""

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from mlflow.entities import (
    Assessment,
    AssessmentSource,
    AssessmentSourceType,
    Feedback,
    Trace,
)
from mlflow.entities.assessment_error import AssessmentError
from mlflow.environment_variables import (
    MLFLOW_GENAI_EVAL_PREDICT_RATE_LIMIT,
    MLFLOW_GENAI_EVAL_SCORER_RATE_LIMIT,
)
from mlflow.exceptions import MlflowException
from mlflow.genai.evaluation.harness import (
    _get_scorer_rate_config,
    _log_assessments,
    _make_rate_limiter,
    _parse_rate_limit,
)
from mlflow.genai.evaluation.rate_limiter import NoOpRateLimiter, RateLimiter
from mlflow.genai.evaluation.utils import add_scorer_metadata, make_code_type_assessment_source
from mlflow.genai.scorers.base import Scorer, ScorerKind, _UnexecutedDecoratorScorer
from mlflow.genai.scorers.online.sampler import OnlineScorerSampler
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE, ErrorCode
from mlflow.tracing.constant import AssessmentMetadataKey, TraceMetadataKey

_logger = logging.getLogger(__name__)


@dataclass
class BatchSummary:
    """What scoring a batch came to.

    Attributes:
        assessments: Assessments logged. Of custom scorers in containers, which log by themselves,
            one is counted for each trace that did not fail.
        failures: Assessments that hold an error in place of a value, or that could not be logged.
        unstored: What the database would not take or give for now; the batch is worth repeating.
    """

    assessments: int = 0
    failures: int = 0
    unstored: int = 0

    def note_unstored(self) -> None:
        """Count one more."""
        self.unstored += 1

    def add(self, other: "BatchSummary") -> None:
        """Count what another counted, too."""
        self.assessments += other.assessments
        self.failures += other.failures
        self.unstored += other.unstored

    def to_dict(self) -> dict[str, int]:
        """The counts that users are told."""
        return {"assessments": self.assessments, "failures": self.failures}


def is_passing(error: Exception | None) -> bool:
    """Whether it may work a little later: the database does not answer."""
    return isinstance(error, MlflowException) and error.error_code == ErrorCode.Name(
        TEMPORARILY_UNAVAILABLE
    )


def load_scorers(
    scorers: OnlineScorerSampler, names_of_entries: Iterable[Iterable[str]]
) -> dict[str, Scorer]:
    """The scorers of these names; those that cannot be loaded here are left out."""
    loaded = {}
    for name in sorted({name for names in names_of_entries for name in names}):
        try:
            loaded[name] = scorers.scorer(name)
        except KeyError:
            _logger.warning("Scorer %r of this batch cannot be loaded and is skipped", name)
    return loaded


def runs_in_container(scorer: Scorer) -> bool:
    """Whether the scorer's code must not run in this process."""
    # Loaded without its code, which is how the sampler marks it.
    return isinstance(scorer, _UnexecutedDecoratorScorer)


def made_by(scorer: Scorer, assessment: Assessment) -> bool:
    """Whether this version of this scorer made the assessment, outside of any evaluation run."""
    return made_by_version(scorer.name, scorer.scorer_version, assessment)


def made_by_version(name: str, version: int | None, assessment: Assessment) -> bool:
    """The same, for a scorer that is not loaded; None is the version of one not registered."""
    metadata = assessment.metadata or {}
    if assessment.source.source_type == AssessmentSourceType.HUMAN:
        return False
    if AssessmentMetadataKey.SOURCE_RUN_ID in metadata:
        return False
    if version is None:
        return assessment.name == name
    maker = metadata.get(AssessmentMetadataKey.SCORER_NAME)
    made_with = metadata.get(AssessmentMetadataKey.SCORER_VERSION)
    return (maker, made_with) == (name, str(version))


def is_code(scorer: Scorer) -> bool:
    """Whether the scorer is a custom `@scorer`, which MLflow does not know to call a model."""
    return scorer.kind == ScorerKind.DECORATOR or runs_in_container(scorer)


@dataclass(frozen=True)
class RateLimits:
    """How often scorers may be called.

    Attributes:
        models: The limit of what calls models.
        code: The limit of custom `@scorer` functions.
    """

    models: RateLimiter
    code: RateLimiter

    def of(self, scorer: Scorer) -> RateLimiter:
        """The limit of this scorer."""
        return self.code if is_code(scorer) else self.models


def rate_limits(scorers: Collection[Scorer]) -> RateLimits:
    """The limits that the settings of evaluation give to these scorers.

    A limit that an operator has set holds for all of them together. The default one spares models,
    and so holds back no code; nor does MLflow limit code in job containers.
    """
    if (
        MLFLOW_GENAI_EVAL_PREDICT_RATE_LIMIT.is_set()
        or MLFLOW_GENAI_EVAL_SCORER_RATE_LIMIT.is_set()
    ):
        shared = _rate_limiter(len(scorers))
        return RateLimits(shared, shared)
    models = _rate_limiter(sum(not is_code(scorer) for scorer in scorers))
    return RateLimits(models, NoOpRateLimiter())


def _rate_limiter(scorer_count: int) -> RateLimiter:
    predict_rate, predict_adaptive = _parse_rate_limit(MLFLOW_GENAI_EVAL_PREDICT_RATE_LIMIT.get())
    rate, adaptive = _get_scorer_rate_config(predict_rate, predict_adaptive, max(1, scorer_count))
    return _make_rate_limiter(rate, adaptive=adaptive)


def error_feedback(error: Exception, scorer: Scorer) -> Feedback:
    """What stands in place of a scorer's answer."""
    source = (
        AssessmentSource(source_type=AssessmentSourceType.CODE, source_id=scorer.name)
        if is_code(scorer)
        else AssessmentSource(source_type=AssessmentSourceType.LLM_JUDGE)
    )
    feedback = Feedback(name=scorer.name, error=error, source=source)
    add_scorer_metadata(scorer, [feedback])
    return feedback


def session_failure(error: str, scorer: Scorer, session_id: str) -> Feedback:
    """The same, for what a scorer was to say of a session."""
    feedback = Feedback(
        name=scorer.name,
        error=AssessmentError(error_code="SCORER_ERROR", error_message=error),
        source=make_code_type_assessment_source(scorer.name),
        metadata={TraceMetadataKey.TRACE_SESSION: session_id},
    )
    add_scorer_metadata(scorer, [feedback])
    return feedback


def log_one_by_one(
    trace: Trace, feedbacks: Iterable[Feedback], summary: BatchSummary
) -> list[Feedback]:
    """Log feedbacks in order; what cannot be stored gives way to its error.

    That holds back no other. A database that does not answer does hold back the rest, so that what
    stands is always how the feedbacks begin.

    Args:
        trace: Where they go.
        feedbacks: One scorer's answer.
        summary: Where they are counted.

    Returns:
        Those that now stand at the trace.
    """
    logged = []
    for feedback in feedbacks:
        error = _log_one(trace, feedback)
        if error and not is_passing(error):
            feedback = _in_place_of(feedback, error)
            error = _log_one(trace, feedback)
        if is_passing(error):
            summary.note_unstored()
            break
        if error is None:
            logged.append(feedback)
        if feedback.error:
            summary.failures += 1
        else:
            summary.assessments += 1
    return logged


def _in_place_of(feedback: Feedback, error: Exception) -> Feedback:
    return Feedback(
        name=feedback.name, error=error, source=feedback.source, metadata=feedback.metadata
    )


def _log_one(trace: Trace, feedback: Feedback) -> Exception | None:
    try:
        _log_assessments(run_id=None, trace=trace, assessments=[feedback])
    except Exception as error:  # noqa: BLE001 - the value is the scorer's and may be anything
        _logger.warning(
            "Assessment %r of trace %s was not stored: %s",
            feedback.name,
            trace.info.trace_id,
            error,
        )
        return error
    return None
