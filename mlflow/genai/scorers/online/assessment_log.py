"""Log what scorers said of several traces, in one transaction where that is possible.

A transaction for each trace costs more than a scorer that only runs code.
"""

import logging
from collections.abc import Iterable

from mlflow.entities import Feedback, Trace
from mlflow.genai.scorers.online.batch_parts import BatchSummary, is_passing, log_one_by_one
from mlflow.store.tracking.assessment_batches import create_assessments
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracing.client import TracingClient

_logger = logging.getLogger(__name__)

Answer = tuple[Trace, list[Feedback]]


def log_together(answers: list[Answer], summary: BatchSummary) -> None:
    """Log all of it, so that what cannot be stored gives way to its error and holds back no other.

    Args:
        answers: Traces, each with what its scorers said.
        summary: Counts it.
    """
    feedbacks = [feedback for _, each in answers for feedback in each]
    if not _fit_one_transaction(feedbacks):
        _log_apart(answers, summary)
        return
    error = _log_in_one_transaction(answers, feedbacks)
    if error is not None and not is_passing(error):
        _logger.debug("%d assessments are logged one by one: %s", len(feedbacks), error)
        _log_apart(answers, summary)
        return
    if error is not None:
        _logger.warning("%d assessments were not stored: %s", len(feedbacks), error)
        summary.unstored += len(feedbacks)
    failures = sum(feedback.error is not None for feedback in feedbacks)
    summary.failures += failures
    summary.assessments += len(feedbacks) - failures


def _fit_one_transaction(feedbacks: list[Feedback]) -> bool:
    return (
        len(feedbacks) > 1
        and isinstance(TracingClient().store, SqlAlchemyStore)
        and not any(feedback.overrides for feedback in feedbacks)
    )


def _log_apart(answers: Iterable[Answer], summary: BatchSummary) -> None:
    for trace, feedbacks in answers:
        log_one_by_one(trace, feedbacks, summary)


def _log_in_one_transaction(
    answers: Iterable[Answer], feedbacks: list[Feedback]
) -> Exception | None:
    for trace, said in answers:
        root = trace.data._get_root_span()
        for feedback in said:
            feedback.trace_id = trace.info.trace_id
            if root is not None:
                feedback.span_id = root.span_id
    try:
        create_assessments(TracingClient().store, feedbacks)
    except Exception as error:  # noqa: BLE001 - the values are the scorers' and may be anything
        return error
    return None
