"""Score an explicit batch of traces, each with the scorers named for it.

Whoever cut the batch decided what is in it; nothing is searched, sampled or remembered here. A
batch may be scored again after an attempt that was cut short, so a scorer's work that already
stands at a trace is not done twice. It counts as standing when an assessment there says, in its
metadata, that this version of this scorer made it, valid or overridden, answer or error. Not
counted are what a person said under the same name, and what an evaluation run recorded for its own
comparison.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mlflow.entities import (
    Assessment,
    AssessmentSource,
    AssessmentSourceType,
    Feedback,
    Trace,
)
from mlflow.environment_variables import (
    MLFLOW_GENAI_EVAL_MAX_RETRIES,
    MLFLOW_GENAI_EVAL_PREDICT_RATE_LIMIT,
    MLFLOW_ONLINE_SCORING_MAX_WORKER_THREADS,
)
from mlflow.exceptions import MlflowException
from mlflow.genai.evaluation.entities import EvalItem
from mlflow.genai.evaluation.harness import (
    _compute_eval_scores,
    _get_scorer_rate_config,
    _log_assessments,
    _make_rate_limiter,
    _parse_rate_limit,
)
from mlflow.genai.evaluation.rate_limiter import RateLimiter, eval_retry_context
from mlflow.genai.evaluation.utils import add_scorer_metadata
from mlflow.genai.scorers.base import Scorer, ScorerKind, _UnexecutedDecoratorScorer
from mlflow.genai.scorers.online.entities import OnlineScorer
from mlflow.genai.scorers.online.sampler import OnlineScorerSampler
from mlflow.genai.scorers.online.trace_loader import OnlineTraceLoader
from mlflow.tracing.constant import AssessmentMetadataKey

if TYPE_CHECKING:
    from mlflow.genai.scorers.online.container_scoring import OnlineContainerScorer

_logger = logging.getLogger(__name__)


@dataclass
class BatchSummary:
    """What scoring a batch came to.

    Attributes:
        traces_scored: Traces that at least one scorer was run on.
        assessments: Assessments logged. Of custom scorers in containers, which log by themselves,
            one is counted for each trace that did not fail.
        failures: Assessments that hold an error in place of a value, or that could not be logged.
    """

    traces_scored: int = 0
    assessments: int = 0
    failures: int = 0

    def to_dict(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True)
class _Task:
    trace: Trace
    scorers: list[Scorer]


class TraceBatchScoring:
    """One pass over one batch.

    Args:
        scorers: The batch's scorers, loaded.
        trace_loader: Where full traces come from.
        container_scorer: Runs custom scorers in job containers; None if none run there.
        on_progress: Called with the number of traces done and the number of traces to do.
    """

    def __init__(
        self,
        scorers: OnlineScorerSampler,
        trace_loader: OnlineTraceLoader,
        container_scorer: "OnlineContainerScorer | None" = None,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._scorers = scorers
        self._trace_loader = trace_loader
        self._container_scorer = container_scorer
        self._on_progress = on_progress
        self._summary = BatchSummary()

    def run(self, batch: list[dict[str, Any]]) -> BatchSummary:
        """Score the batch.

        Args:
            batch: `{"trace_id": ..., "scorers": [names]}` for each trace. Traces that are gone and
                scorers that cannot be loaded here are left out.

        Returns:
            The counts. A scorer that fails leaves an assessment with its error and is no error of
            the batch.
        """
        tasks = self._outstanding(batch)
        self._summary.traces_scored = len(tasks)
        self._on_progress(0, len(tasks))
        on_host = [
            _Task(task.trace, host_scorers)
            for task in tasks
            if (host_scorers := [s for s in task.scorers if not _runs_in_container(s)])
        ]
        self._score_on_host(on_host, total=len(tasks))
        self._score_in_containers(tasks)
        self._on_progress(len(tasks), len(tasks))
        return self._summary

    def _outstanding(self, batch: list[dict[str, Any]]) -> list[_Task]:
        names_of = {entry["trace_id"]: entry["scorers"] for entry in batch}
        loaded = self._load_scorers({name for names in names_of.values() for name in names})
        tasks = []
        for trace in self._trace_loader.fetch_traces(list(names_of)):
            scorers = [
                loaded[name]
                for name in names_of[trace.info.trace_id]
                if name in loaded and not _stands_at(trace, loaded[name])
            ]
            if scorers:
                tasks.append(_Task(trace, scorers))
        return tasks

    def _load_scorers(self, names: set[str]) -> dict[str, Scorer]:
        loaded = {}
        for name in sorted(names):
            try:
                loaded[name] = self._scorers.scorer(name)
            except KeyError:
                _logger.warning("Scorer %r of this batch cannot be loaded and is skipped", name)
        return loaded

    def _score_on_host(self, tasks: list[_Task], total: int) -> None:
        limiter = _rate_limiter(len({s.name for task in tasks for s in task.scorers}))
        with ThreadPoolExecutor(
            MLFLOW_ONLINE_SCORING_MAX_WORKER_THREADS.get(), thread_name_prefix="OnlineScoring"
        ) as pool:
            running = {pool.submit(_score, task, limiter): task for task in tasks}
            for done, future in enumerate(as_completed(running), start=1):
                task = running.pop(future)
                try:
                    feedbacks = future.result()
                except Exception as error:  # noqa: BLE001 - recorded at the trace it concerns
                    feedbacks = [_error_feedback(error, scorer) for scorer in task.scorers]
                self._log(task.trace, feedbacks)
                self._on_progress(done, total)

    def _score_in_containers(self, tasks: list[_Task]) -> None:
        work: dict[str, tuple[OnlineScorer, list[Trace]]] = {}
        for task in tasks:
            for scorer in filter(_runs_in_container, task.scorers):
                online_scorer = self._scorers.online_scorer(scorer.name)
                work.setdefault(scorer.name, (online_scorer, []))[1].append(task.trace)
        if not work:
            return

        self._summary.assessments += sum(len(traces) for _, traces in work.values())
        self._container_scorer.score(list(work.values()), self._on_container_failure)

    def _on_container_failure(
        self, online_scorer: OnlineScorer, traces: list[Trace], error: str
    ) -> None:
        scorer = self._scorers.scorer(online_scorer.name)
        self._summary.assessments -= len(traces)
        for trace in traces:
            self._log(trace, [_error_feedback(MlflowException(error), scorer)])

    def _log(self, trace: Trace, feedbacks: list[Feedback]) -> None:
        """Log one by one: what cannot be stored gives way to its error and holds back no other."""
        for feedback in feedbacks:
            if error := _log_one(trace, feedback):
                _log_one(trace, _in_place_of(feedback, error))
            if error or feedback.error:
                self._summary.failures += 1
            else:
                self._summary.assessments += 1


def _runs_in_container(scorer: Scorer) -> bool:
    # Loaded without its code, which is how the sampler marks what must not run in this process.
    return isinstance(scorer, _UnexecutedDecoratorScorer)


def _stands_at(trace: Trace, scorer: Scorer) -> bool:
    return any(_made_by(scorer, assessment) for assessment in trace.info.assessments or [])


def _made_by(scorer: Scorer, assessment: Assessment) -> bool:
    metadata = assessment.metadata or {}
    if assessment.source.source_type == AssessmentSourceType.HUMAN:
        return False
    if AssessmentMetadataKey.SOURCE_RUN_ID in metadata:
        return False
    if scorer.scorer_version is None:
        return assessment.name == scorer.name
    name = metadata.get(AssessmentMetadataKey.SCORER_NAME)
    version = metadata.get(AssessmentMetadataKey.SCORER_VERSION)
    return (name, version) == (scorer.name, str(scorer.scorer_version))


def _rate_limiter(scorer_count: int) -> RateLimiter:
    predict_rate, predict_adaptive = _parse_rate_limit(MLFLOW_GENAI_EVAL_PREDICT_RATE_LIMIT.get())
    rate, adaptive = _get_scorer_rate_config(predict_rate, predict_adaptive, max(1, scorer_count))
    return _make_rate_limiter(rate, adaptive=adaptive)


def _score(task: _Task, limiter: RateLimiter) -> list[Feedback]:
    with eval_retry_context():
        return _compute_eval_scores(
            eval_item=EvalItem.from_trace(task.trace),
            scorers=task.scorers,
            rate_limiter=limiter,
            max_retries=MLFLOW_GENAI_EVAL_MAX_RETRIES.get(),
        ).assessments


def _error_feedback(error: Exception, scorer: Scorer) -> Feedback:
    is_code = scorer.kind == ScorerKind.DECORATOR or _runs_in_container(scorer)
    source = (
        AssessmentSource(source_type=AssessmentSourceType.CODE, source_id=scorer.name)
        if is_code
        else AssessmentSource(source_type=AssessmentSourceType.LLM_JUDGE)
    )
    feedback = Feedback(name=scorer.name, error=error, source=source)
    add_scorer_metadata(scorer, [feedback])
    return feedback


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
