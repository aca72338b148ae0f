"""Call scorers as evaluation does, with its retries: on one trace, or on one session.

A scorer that fails answers with its error. So does one that asks for the end of the interpreter, as
`sys.exit()` does, which is an answer about no more than what it was called on.
"""

from collections.abc import Sequence

from mlflow.entities import Feedback, Trace
from mlflow.environment_variables import MLFLOW_GENAI_EVAL_MAX_RETRIES
from mlflow.exceptions import MlflowException
from mlflow.genai.evaluation.entities import EvalItem
from mlflow.genai.evaluation.harness import _compute_eval_scores
from mlflow.genai.evaluation.rate_limiter import RateLimiter, eval_retry_context
from mlflow.genai.evaluation.session_utils import evaluate_session_level_scorers
from mlflow.genai.scorers.base import Scorer
from mlflow.genai.scorers.online.batch_parts import RateLimits, error_feedback, session_failure


def score_trace(trace: Trace, scorers: Sequence[Scorer], limits: RateLimits) -> list[Feedback]:
    """What these scorers say of a trace."""
    by_limit: dict[RateLimiter, list[Scorer]] = {}
    for scorer in scorers:
        by_limit.setdefault(limits.of(scorer), []).append(scorer)
    with eval_retry_context():
        return [
            feedback
            for limiter, limited in by_limit.items()
            for feedback in _answers(trace, limited, limiter)
        ]


def score_session(
    session_id: str, traces: Sequence[Trace], scorer: Scorer, limits: RateLimits
) -> list[Feedback]:
    """What this scorer says of a session."""
    try:
        return evaluate_session_level_scorers(
            session_id=session_id,
            session_items=[EvalItem.from_trace(trace) for trace in traces],
            multi_turn_scorers=[scorer],
            scorer_rate_limiter=limits.of(scorer),
            max_retries=MLFLOW_GENAI_EVAL_MAX_RETRIES.get(),
        ).assessments
    except Exception:
        raise
    except BaseException as request:  # noqa: BLE001 - it would end the job, and all other scorers
        return [session_failure(_refused(request), scorer, session_id)]


def _answers(trace: Trace, scorers: list[Scorer], limiter: RateLimiter) -> list[Feedback]:
    try:
        return _compute_eval_scores(
            eval_item=EvalItem.from_trace(trace),
            scorers=scorers,
            rate_limiter=limiter,
            max_retries=MLFLOW_GENAI_EVAL_MAX_RETRIES.get(),
        ).assessments
    except Exception:
        raise
    except BaseException as request:  # noqa: BLE001 - it would end the job, and all other scorers
        if len(scorers) == 1:
            return [error_feedback(MlflowException(_refused(request)), scorers[0])]
        # Whose it was, and what the others say, is found out one by one.
        return [each for scorer in scorers for each in _answers(trace, [scorer], limiter)]


def _refused(request: BaseException) -> str:
    return f"The scorer asked for the end of its process by {request!r}."
