"""Score an explicit batch of completed sessions, each with the scorers named for it.

Whoever cut the batch decided what is in it. What scorers say of a session stands at its first
trace, with the session's id in the metadata, as in MLflow 3.18; and as there, what a scorer says
later replaces what it said of the session before.

A batch may be scored again after an attempt that was cut short. Each assessment therefore says up
to which trace the session was scored, and which of how many this one is. A scorer that has said all
of it about the session as it stands in the batch is not asked again; one that was interrupted is.
A session that went on since says another time, and is scored again.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlflow.entities import Assessment, AssessmentSourceType, Feedback, Trace
from mlflow.exceptions import MlflowException
from mlflow.genai.scorers.base import Scorer, warn_session_level_unsupported_online
from mlflow.genai.scorers.model_client import import_model_client
from mlflow.genai.scorers.online.batch_parts import (
    BatchSummary,
    RateLimits,
    is_passing,
    load_scorers,
    log_one_by_one,
    made_by,
    rate_limits,
    runs_in_container,
    session_failure,
)
from mlflow.genai.scorers.online.calling_threads import as_they_end, calling_threads
from mlflow.genai.scorers.online.entities import OnlineScorer
from mlflow.genai.scorers.online.sampler import OnlineScorerSampler
from mlflow.genai.scorers.online.scorer_calls import score_session
from mlflow.genai.scorers.online.session_traces import traces_of_session
from mlflow.genai.scorers.online.trace_loader import OnlineTraceLoader
from mlflow.store.tracking.abstract_store import AbstractStore
from mlflow.tracing.constant import AssessmentMetadataKey

if TYPE_CHECKING:
    from mlflow.genai.scorers.online.container_scoring import OnlineContainerScorer
    from mlflow.genai.scorers.online.isolation import Isolation

_logger = logging.getLogger(__name__)

SESSION_ID = AssessmentMetadataKey.ONLINE_SCORING_SESSION_ID
SCORED_UP_TO = "mlflow.assessment.onlineScoringSessionUpTo"


@dataclass(frozen=True)
class _Task:
    session_id: str
    last_trace_ms: int
    traces: list[Trace]
    scorers: list[Scorer]

    @property
    def first(self) -> Trace:
        return self.traces[0]


class SessionBatchScoring:
    """One pass over one batch.

    Args:
        experiment_id: The experiment of the sessions.
        scorers: The batch's scorers, loaded.
        store: Where traces are searched and assessments deleted.
        container_scorer: Runs custom scorers in job containers; None if none run there.
        isolation: Where scorers are called that must not end this process; None calls all here.
        on_progress: Called with the number of sessions done and the number of sessions to do.
    """

    def __init__(
        self,
        experiment_id: str,
        scorers: OnlineScorerSampler,
        store: AbstractStore,
        container_scorer: "OnlineContainerScorer | None" = None,
        isolation: "Isolation | None" = None,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._experiment_id = experiment_id
        self._scorers = scorers
        self._store = store
        self._loader = OnlineTraceLoader(store)
        self._container_scorer = container_scorer
        self._isolation = isolation
        self._on_progress = on_progress
        self._summary = BatchSummary()
        self._scored: set[str] = set()
        self._counting = threading.Lock()

    @property
    def summary(self) -> BatchSummary:
        """What it has come to so far."""
        return self._summary

    def run(self, batch: list[dict[str, Any]]) -> dict[str, int]:
        """Score the batch.

        Args:
            batch: For each session its id, the times of its first and last trace, and the names of
                its scorers. Sessions that are gone and scorers that cannot be loaded here are left
                out.

        Returns:
            The counts. A scorer that fails leaves an assessment with its error and is no error of
            the batch.
        """
        loaded = load_scorers(self._scorers, (entry["scorers"] for entry in batch))
        for scorer in loaded.values():
            if scorer.session_level is not None:
                warn_session_level_unsupported_online(scorer.name)
        on_host = [scorer for scorer in loaded.values() if not runs_in_container(scorer)]
        in_containers = [scorer for scorer in loaded.values() if runs_in_container(scorer)]
        self._on_progress(0, len(batch))
        self._score_on_host(batch, on_host)
        if in_containers:
            self._score_in_containers(batch, in_containers)
        self._on_progress(len(batch), len(batch))
        return {"sessions_scored": len(self._scored), **self._summary.to_dict()}

    def _score_on_host(self, batch: list[dict[str, Any]], scorers: list[Scorer]) -> None:
        import_model_client(scorers)
        patience_seconds = self._isolation and self._isolation.begin(scorers)
        limits = rate_limits(scorers)
        with calling_threads("SessionScoring") as pool:
            running = [pool.submit(self._score_session, each, scorers, limits) for each in batch]
            done = 0
            for ended_now in as_they_end(running, patience_seconds):
                for future in ended_now:
                    # One session's trouble is no other's, and would be the same the next time.
                    if (error := future.exception()) is not None:
                        _logger.warning("A session was not scored: %r", error)
                done += len(ended_now)
                self._on_progress(done, len(batch))

    def _score_session(
        self, entry: dict[str, Any], scorers: list[Scorer], limits: RateLimits
    ) -> None:
        task = self._task(entry, scorers)
        if task is None:
            return
        with ThreadPoolExecutor(len(task.scorers), thread_name_prefix="SessionScorer") as pool:
            answers = pool.map(lambda scorer: self._answer(task, scorer, limits), task.scorers)
            for feedbacks in answers:
                self._log(task, feedbacks, replaces=lambda old: True)

    def _answer(self, task: _Task, scorer: Scorer, limits: RateLimits) -> list[Feedback]:
        if not (self._isolation and self._isolation.holds(scorer)):
            return score_session(task.session_id, task.traces, scorer, limits)
        limits.of(scorer).acquire()
        try:
            return self._isolation.ask(scorer, task.traces, task.session_id)
        except MlflowException as error:
            return [session_failure(error.message, scorer, task.session_id)]

    def _score_in_containers(self, batch: list[dict[str, Any]], scorers: list[Scorer]) -> None:
        tasks: dict[str, _Task] = {}
        work: list[tuple[OnlineScorer, list[Trace]]] = []
        for entry in batch:
            if task := self._task(entry, scorers):
                tasks[task.first.info.trace_id] = task
                work += [
                    (self._scorers.online_scorer(scorer.name), task.traces)
                    for scorer in task.scorers
                ]

        def on_result(_: OnlineScorer, traces: list[Trace], feedbacks: list[Feedback]) -> None:
            # The container chose the names, and must not replace what others have said.
            self._log(tasks[traces[0].info.trace_id], feedbacks, replaces=_is_code)

        def on_failure(online_scorer: OnlineScorer, traces: list[Trace], error: str) -> None:
            task = tasks[traces[0].info.trace_id]
            scorer = self._scorers.scorer(online_scorer.name)
            failed = session_failure(error, scorer, task.session_id)
            self._log(task, [failed], replaces=_is_code)

        if work:
            self._container_scorer.score_sessions(work, on_result, on_failure)

    def _task(self, entry: dict[str, Any], scorers: Iterable[Scorer]) -> _Task | None:
        """The session with the scorers that are named for it and have not had their say."""
        wanted = [scorer for scorer in scorers if scorer.name in entry["scorers"]]
        if not wanted:
            return None
        session_id = entry["session_id"]
        try:
            traces = traces_of_session(self._store, self._loader, self._experiment_id, entry)
        except MlflowException as error:
            _logger.warning("The traces of session %r cannot be read: %s", session_id, error)
            if is_passing(error):
                self._count(lambda summary: summary.note_unstored())
            return None
        if not traces:
            _logger.warning("No traces found for session %r", session_id)
            return None
        everything = _Task(session_id, entry["last_trace_timestamp_ms"], traces, wanted)
        self._replace_what_an_earlier_attempt_left(everything)
        outstanding = [scorer for scorer in wanted if not _has_spoken(everything, scorer)]
        if not outstanding:
            return None
        with self._counting:
            self._scored.add(session_id)
        return _Task(session_id, everything.last_trace_ms, traces, outstanding)

    def _log(
        self, task: _Task, feedbacks: list[Feedback], replaces: Callable[[Assessment], bool]
    ) -> None:
        for number, feedback in enumerate(feedbacks, start=1):
            feedback.metadata = {
                **(feedback.metadata or {}),
                SESSION_ID: task.session_id,
                SCORED_UP_TO: f"{task.last_trace_ms} {number}/{len(feedbacks)}",
            }
        summary = BatchSummary()
        names = {each.name for each in log_one_by_one(task.first, feedbacks, summary)}
        self._count(lambda total: total.add(summary))
        self._delete(
            task, (old for old in _of_session(task) if old.name in names and replaces(old))
        )

    def _replace_what_an_earlier_attempt_left(self, task: _Task) -> None:
        """An attempt may have ended between logging what is new and deleting what is old."""
        spoken = [old for old in _of_session(task) if _up_to(old)[0] == str(task.last_trace_ms)]
        for scorer in task.scorers:
            if not _has_spoken(task, scorer):
                continue
            names = {each.name for each in spoken if made_by(scorer, each)}
            self._delete(
                task,
                (
                    old
                    for old in _of_session(task)
                    if old.name in names
                    and old not in spoken
                    and (_is_code(old) or not runs_in_container(scorer))
                ),
            )

    def _delete(self, task: _Task, assessments: Iterable[Assessment]) -> None:
        for assessment in assessments:
            try:
                self._store.delete_assessment(
                    trace_id=task.first.info.trace_id, assessment_id=assessment.assessment_id
                )
            except MlflowException as error:
                _logger.warning(
                    "The old assessment %r of session %r was not deleted: %s",
                    assessment.name,
                    task.session_id,
                    error,
                )

    def _count(self, change: Callable[[BatchSummary], None]) -> None:
        with self._counting:
            change(self._summary)


def _of_session(task: _Task) -> list[Assessment]:
    """What online scoring had said of the session when its traces were read."""
    return [
        assessment
        for assessment in task.first.info.assessments or []
        if (assessment.metadata or {}).get(SESSION_ID) == task.session_id
    ]


def _has_spoken(task: _Task, scorer: Scorer) -> bool:
    """Whether this version of the scorer has said all about the session up to this very trace."""
    for assessment in _of_session(task):
        up_to, _, part = _up_to(assessment)
        number, _, count = part.partition("/")
        if up_to == str(task.last_trace_ms) and number == count and made_by(scorer, assessment):
            return True
    return False


def _up_to(assessment: Assessment) -> tuple[str, str, str]:
    return (assessment.metadata or {}).get(SCORED_UP_TO, "").partition(" ")


def _is_code(assessment: Assessment) -> bool:
    return bool(assessment.source) and assessment.source.source_type == AssessmentSourceType.CODE
