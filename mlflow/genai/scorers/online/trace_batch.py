"""Score an explicit batch of traces, each with the scorers named for it.

Whoever cut the batch decided what is in it; nothing is searched, sampled or remembered here. A
batch may be scored again after an attempt that was cut short, so a scorer's work that already
stands at a trace is not done twice. It counts as standing when an assessment there says, in its
metadata, that this version of this scorer made it, valid or overridden, answer or error. Not
counted are what a person said under the same name, and what an evaluation run recorded for its own
comparison. Of an answer that stands in part, the rest is added.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlflow.entities import Assessment, Feedback, Trace
from mlflow.exceptions import MlflowException
from mlflow.genai.scorers.base import Scorer
from mlflow.genai.scorers.model_client import import_model_client
from mlflow.genai.scorers.online.answer_parts import is_whole, missing_parts
from mlflow.genai.scorers.online.assessment_log import Answer, log_together
from mlflow.genai.scorers.online.batch_parts import (
    BatchSummary,
    RateLimits,
    error_feedback,
    load_scorers,
    log_one_by_one,
    made_by,
    rate_limits,
    runs_in_container,
)
from mlflow.genai.scorers.online.calling_threads import as_they_end, calling_threads
from mlflow.genai.scorers.online.entities import OnlineScorer
from mlflow.genai.scorers.online.sampler import OnlineScorerSampler
from mlflow.genai.scorers.online.scorer_calls import score_trace
from mlflow.genai.scorers.online.trace_loader import OnlineTraceLoader

if TYPE_CHECKING:
    from mlflow.genai.scorers.online.container_scoring import OnlineContainerScorer
    from mlflow.genai.scorers.online.isolation import Isolation


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
        isolation: Where scorers are called that must not end this process; None calls all here.
        on_progress: Called with the number of traces done and the number of traces to do.
    """

    def __init__(
        self,
        scorers: OnlineScorerSampler,
        trace_loader: OnlineTraceLoader,
        container_scorer: "OnlineContainerScorer | None" = None,
        isolation: "Isolation | None" = None,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._scorers = scorers
        self._trace_loader = trace_loader
        self._container_scorer = container_scorer
        self._isolation = isolation
        self._on_progress = on_progress
        self._summary = BatchSummary()

    @property
    def summary(self) -> BatchSummary:
        """What it has come to so far."""
        return self._summary

    def run(self, batch: list[dict[str, Any]]) -> dict[str, int]:
        """Score the batch.

        Args:
            batch: `{"trace_id": ..., "scorers": [names]}` for each trace. Traces that are gone and
                scorers that cannot be loaded here are left out.

        Returns:
            The counts. A scorer that fails leaves an assessment with its error and is no error of
            the batch.
        """
        tasks = self._outstanding(batch)
        self._on_progress(0, len(tasks))
        on_host = [
            _Task(task.trace, host_scorers)
            for task in tasks
            if (host_scorers := [s for s in task.scorers if not runs_in_container(s)])
        ]
        self._score_on_host(on_host, total=len(tasks))
        self._score_in_containers(tasks)
        self._on_progress(len(tasks), len(tasks))
        return {"traces_scored": len(tasks), **self._summary.to_dict()}

    def _outstanding(self, batch: list[dict[str, Any]]) -> list[_Task]:
        names_of = {entry["trace_id"]: entry["scorers"] for entry in batch}
        loaded = load_scorers(self._scorers, names_of.values())
        tasks = []
        for trace in self._trace_loader.fetch_traces(list(names_of)):
            scorers = [
                loaded[name]
                for name in names_of[trace.info.trace_id]
                if name in loaded and not is_whole(_standing_at(trace, loaded[name]))
            ]
            if scorers:
                tasks.append(_Task(trace, scorers))
        return tasks

    def _score_on_host(self, tasks: list[_Task], total: int) -> None:
        scorers = {s.name: s for task in tasks for s in task.scorers}.values()
        import_model_client(scorers)
        patience_seconds = self._isolation and self._isolation.begin(scorers)
        limits = rate_limits(scorers)
        with calling_threads("OnlineScoring") as pool:
            task_of = {pool.submit(self._answer, task, limits): task for task in tasks}
            done = 0
            for ended_now in as_they_end([*task_of], patience_seconds):
                # Those that end together are logged together.
                answers = [
                    answer
                    for future in ended_now
                    for answer in _answers(task_of.pop(future), future)
                ]
                log_together(answers, self._summary)
                done += len(ended_now)
                self._on_progress(done, total)

    def _answer(self, task: _Task, limits: RateLimits) -> list[Feedback]:
        apart = [s for s in task.scorers if self._isolation and self._isolation.holds(s)]
        feedbacks = score_trace(task.trace, [s for s in task.scorers if s not in apart], limits)
        for scorer in apart:
            limits.of(scorer).acquire()
            try:
                feedbacks += self._isolation.ask(scorer, [task.trace])
            except MlflowException as error:
                feedbacks.append(error_feedback(error, scorer))
        return feedbacks

    def _score_in_containers(self, tasks: list[_Task]) -> None:
        work: dict[str, tuple[OnlineScorer, list[Trace]]] = {}
        for task in tasks:
            for scorer in filter(runs_in_container, task.scorers):
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
            feedback = error_feedback(MlflowException(error), scorer)
            log_one_by_one(trace, [feedback], self._summary)


def _standing_at(trace: Trace, scorer: Scorer) -> list[Assessment]:
    return [each for each in trace.info.assessments or [] if made_by(scorer, each)]


def _answers(task: _Task, future: Future) -> Iterator[Answer]:
    """What is to be stored, by scorer: whatever becomes of one answer, the others are stored."""
    try:
        unclaimed = future.result()
    except Exception as error:  # noqa: BLE001 - recorded at the trace it concerns
        unclaimed = [error_feedback(error, scorer) for scorer in task.scorers]
    for scorer in task.scorers:
        answer = [feedback for feedback in unclaimed if made_by(scorer, feedback)]
        unclaimed = [feedback for feedback in unclaimed if not made_by(scorer, feedback)]
        yield task.trace, missing_parts(answer, _standing_at(task.trace, scorer))
    # A scorer that is not registered names its feedbacks freely, and nothing tells whose they are.
    yield task.trace, unclaimed
