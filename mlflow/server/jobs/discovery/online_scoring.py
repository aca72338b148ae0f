"""Find what online scoring has to do and put it into PENDING jobs. Keeps I5 and I6.

Discovery decides everything: it reads the checkpoint, looks at the traces or sessions after it, and
puts an explicit batch and the next checkpoint into the job, which moves the checkpoint by
succeeding (I5). Where there is no checkpoint yet it puts one an hour back, as soon as it sees the
scorers, so that no later outage can let the window slide past what came since.

An experiment has at most one unfinished job per level. That is looked up before the checkpoint is
read: as only the leader creates these jobs, no job can move the checkpoint in between. The rows are
inserted under the leader's term (I6).

A cycle begins with one statement about all experiments of all workspaces. Only those are looked at
that show something new, each in its turn, until the time of the cycle is over.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

from mlflow.environment_variables import (
    MLFLOW_ENABLE_WORKSPACES,
    MLFLOW_ONLINE_SCORING_DEFAULT_SESSION_COMPLETION_BUFFER_SECONDS,
    MLFLOW_ONLINE_SCORING_DEFAULT_TRACE_COMPLETION_BUFFER_SECONDS,
)
from mlflow.exceptions import MlflowException
from mlflow.genai.scorers.online import OnlineScorer
from mlflow.genai.scorers.online.active_scorers import split_by_level
from mlflow.genai.scorers.online.constants import MAX_LOOKBACK_MS
from mlflow.server.jobs.discovery.backlog import Backlog, BacklogReport, backlog_of
from mlflow.server.jobs.discovery.batches import Position
from mlflow.server.jobs.discovery.checkpoints import value_of
from mlflow.server.jobs.discovery.levels import CHECKPOINT_TAGS, LEVELS, SESSIONS, TRACES, Level
from mlflow.server.jobs.discovery.line import Line, Sight, Visit
from mlflow.server.jobs.discovery.next_job import common_params, next_job
from mlflow.server.jobs.discovery.repetitions import Repetitions
from mlflow.server.jobs.discovery.scorers_ahead import ScorersAhead
from mlflow.server.jobs.discovery.skips import Skips
from mlflow.server.jobs.discovery.traces_ahead import TracesAhead
from mlflow.server.jobs.lock_manager import lock_key
from mlflow.server.jobs.remote.online_grants import OnlineGrants
from mlflow.server.jobs.settings import JobSettings
from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.errors import JobStoreUnavailable, LeadershipLost
from mlflow.store.jobs.values import CheckpointMove, ScoredExperiment, Term
from mlflow.store.tracking.abstract_store import AbstractStore
from mlflow.utils.workspace_context import ServerWorkspaceContext

_logger = logging.getLogger(__name__)

_EXCLUSIVE_PARAMS = ["experiment_id"]
_JOB_NAMES = [level.job_name for level in LEVELS]
# Well within the minute after which the next one is due.
_CYCLE_SECONDS = 45.0


class Router(Protocol):
    """Chooses the backend of a submission; `JobRouter` does."""

    def route(self, job_name: str, params: dict[str, Any]) -> str | None: ...


class OnlineScoringDiscovery:
    """The leader's search for online scoring work.

    Args:
        tracking_store: Traces, experiments and scorers of all workspaces.
        job_store: Where PENDING jobs are inserted; of all workspaces.
        settings: The timeout of the jobs.
        router: The backend of the jobs.
        grants: What the jobs may open if their backend is remote; None if no backend is.
        trace_buffer_seconds: Age that a trace must have before it is looked at, so that it is
            complete by then.
        session_buffer_seconds: Age that the last trace of a session must have, so that it counts as
            the last.
        max_entries: Most traces or sessions in one batch; None stands for 3.18's numbers.
        max_looks: Most traces or sessions that the scorers of one filter look at for one batch.
        cycle_seconds: How long one cycle may take before the rest of the line waits for the next.
        monotonic: The host's clock, for that time.
        on_created: Told of each job: its id, workspace and params.
    """

    def __init__(
        self,
        tracking_store: AbstractStore,
        job_store: AbstractJobStore,
        settings: JobSettings,
        router: Router,
        grants: OnlineGrants | None = None,
        *,
        trace_buffer_seconds: float | None = None,
        session_buffer_seconds: float | None = None,
        max_entries: int | None = None,
        max_looks: int | None = None,
        cycle_seconds: float = _CYCLE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
        on_created: Callable[[str, str | None, dict[str, Any]], None] = lambda *_: None,
    ) -> None:
        if trace_buffer_seconds is None:
            trace_buffer_seconds = (
                MLFLOW_ONLINE_SCORING_DEFAULT_TRACE_COMPLETION_BUFFER_SECONDS.get()
            )
        if session_buffer_seconds is None:
            session_buffer_seconds = (
                MLFLOW_ONLINE_SCORING_DEFAULT_SESSION_COMPLETION_BUFFER_SECONDS.get()
            )
        self._tracking_store = tracking_store
        self._job_store = job_store
        self._settings = settings
        self._router = router
        self._grants = grants
        self._buffer_ms = {
            TRACES.tag: max(0, int(trace_buffer_seconds * 1000)),
            SESSIONS.tag: max(0, int(session_buffer_seconds * 1000)),
        }
        self._limits = {"max_entries": max_entries, "max_looks": max_looks}
        self._cycle_seconds = cycle_seconds
        self._monotonic = monotonic
        self._on_created = on_created
        self._line = Line()
        self._repetitions = Repetitions()
        self._skips = Skips()
        self._report = BacklogReport()
        self._one_look_at_a_time = threading.Lock()
        self._created: set[Hashable] = set()

    def run(self, term: Term) -> Backlog:
        """Look at every experiment of every workspace that shows something new, in turn.

        Returns:
            What is known to wait when the cycle ends.

        Raises:
            LeadershipLost: The term has ended. What was created before stays.
            JobStoreUnavailable: The database does not answer.
        """
        ends_at = self._monotonic() + self._cycle_seconds
        self._job_store.forget_unscored_checkpoints(CHECKPOINT_TAGS, term)
        with self._one_look_at_a_time:
            self._created.clear()
            now_ms, sights, busy = self._see(only_experiment=None)
            visits = self._line.begin_cycle(sights, busy)
            self._repetitions.forget_all_but({each.key for each in sights})
        scorers = ScorersAhead(self._tracking_store, (each.experiment for each in visits))
        traces = TracesAhead(self._tracking_store, visits)
        for visit in visits:
            if self._monotonic() >= ends_at:
                _logger.info(
                    "Online scoring looks at the rest of its experiments in the next cycle"
                )
                break
            with self._one_look_at_a_time:
                self._line.take_turn(visit)
                # What has got a job since was seen before its checkpoint moved.
                visit.sights = [each for each in visit.sights if each.key not in self._created]
                self._visit(term, visit, scorers, traces)
        with self._one_look_at_a_time:
            waiting = [
                (each.experiment.experiment_id, since_ms)
                for each in sights
                if (since_ms := self._line.waits_since_ms(each)) is not None
            ]
        backlog = backlog_of(waiting, now_ms)
        self._report.note(backlog, now_ms)
        return backlog

    def run_experiment(self, term: Term, workspace: str | None, experiment_id: str) -> None:
        """Look at one experiment now, as after a batch that was full.

        Raises:
            LeadershipLost: The term has ended.
            JobStoreUnavailable: The database does not answer.
        """
        with self._one_look_at_a_time:
            _, sights, busy = self._see(experiment_id)
            showing = [each for each in sights if each.shows_something and each.key not in busy]
            if showing:
                experiment = showing[0].experiment
                scorers = ScorersAhead(self._tracking_store, [experiment])
                traces = TracesAhead(self._tracking_store)
                self._visit(term, Visit(experiment, showing), scorers, traces)

    def _see(self, only_experiment: str | None) -> tuple[int, list[Sight], set[Hashable]]:
        """The database's time, what there is to be seen, and the keys of what has a job already."""
        lock_keys = None
        if only_experiment is not None:
            found = self._job_store.scored_experiments({}, only_experiment)
            lock_keys = [_lock_key(level, experiment) for experiment in found for level in LEVELS]
        unfinished = self._job_store.unfinished_lock_keys(
            _JOB_NAMES,
            lambda name, params, workspace: lock_key(name, params, _EXCLUSIVE_PARAMS, workspace),
            lock_keys,
        )
        now_ms = self._job_store.now_ms()
        ends_ms = {tag: now_ms - buffer_ms for tag, buffer_ms in self._buffer_ms.items()}
        sights = [
            Sight(level, experiment, ends_ms[level.tag], now_ms)
            for experiment in self._job_store.scored_experiments(ends_ms, only_experiment)
            for level in LEVELS
        ]
        busy = {each.key for each in sights if _lock_key(each.level, each.experiment) in unfinished}
        return now_ms, sights, busy

    def _visit(self, term: Term, visit: Visit, scorers: ScorersAhead, traces: TracesAhead) -> None:
        experiment = visit.experiment
        workspace = _workspace_of(experiment)
        with self._skipping_on_error(workspace, experiment.experiment_id), _inside(workspace):
            trace_level, session_level = split_by_level(
                scorers.of(experiment), self._note_skipped_scorer
            )
            known = len(trace_level) + len(session_level)
            for sight in visit.sights:
                of_level = session_level if sight.level.is_session_level else trace_level
                if of_level:
                    # Those that cannot be granted wait: nothing passes traces that they want alone.
                    if grantable := self._grantable(sight, of_level):
                        self._look(term, sight, grantable, traces)
                else:
                    if known == experiment.scorer_count:
                        self._forget_old_checkpoint(term, sight)
                    self._line.settle_level(sight)

    def _grantable(self, sight: Sight, online_scorers: list[OnlineScorer]) -> list[OnlineScorer]:
        if self._grants is None:
            return online_scorers
        return self._grants.grantable(
            sight.level.job_name,
            online_scorers,
            lambda scorers: common_params(sight.experiment.experiment_id, scorers),
            self._note_skipped_scorer,
        )

    def _look(
        self,
        term: Term,
        sight: Sight,
        online_scorers: list[OnlineScorer],
        traces: TracesAhead,
    ) -> None:
        checkpoint = self._checkpoint(term, sight)
        if checkpoint is None:
            return
        experiment_id = sight.experiment.experiment_id

        def note_bad_filter(filter_string: str | None, reason: str) -> None:
            self._skips.note(
                (experiment_id, "filter", filter_string),
                f"scorers with the filter {filter_string!r} of experiment {experiment_id}",
                reason,
            )

        found = next_job(
            self._tracking_store,
            sight.level,
            experiment_id,
            online_scorers,
            checkpoint,
            sight.window_end_ms,
            sight.newest_ms,
            note_bad_filter,
            traces.of(sight),
            care=self._repetitions.care(sight.key, checkpoint, sight.now_ms),
            **self._limits,
        )
        if found is None:
            self._line.settle(sight)
        else:
            self._line.found(sight, found.since_ms)
            if self._create(term, sight, found.params):
                self._repetitions.note(sight.key, checkpoint, sight.now_ms)

    def _checkpoint(self, term: Term, sight: Sight) -> Position | None:
        """Where to begin; None if the checkpoint was changed by somebody else just now."""
        checkpoint = sight.checkpoint
        if checkpoint is not None and not sight.is_ahead:
            return checkpoint
        start = Position(sight.window_end_ms - MAX_LOOKBACK_MS)
        experiment_id = sight.experiment.experiment_id
        if checkpoint is not None:
            # A checkpoint ahead of all clocks would stop scoring until then.
            self._skips.note(
                (experiment_id, sight.level.tag, checkpoint),
                f"the {sight.level.unit} checkpoint of experiment {experiment_id}",
                f"{checkpoint.timestamp_ms} lies in the future; set back to {start.timestamp_ms}",
            )
        move = CheckpointMove(experiment_id, sight.level.tag, value_of(start, sight.level.id_key))
        begun = self._job_store.begin_checkpoint(move, term, instead_of=sight.text)
        return start if begun else None

    def _forget_old_checkpoint(self, term: Term, sight: Sight) -> None:
        """Nobody wants what comes meanwhile, and whoever switches a scorer on begins anew."""
        if sight.text is not None and (not sight.checkpoint or sight.behind_ms > MAX_LOOKBACK_MS):
            self._job_store.forget_checkpoint(
                sight.experiment.experiment_id, sight.level.tag, sight.text, term
            )

    def _create(self, term: Term, sight: Sight, params: dict[str, Any]) -> bool:
        job_name, workspace = sight.level.job_name, _workspace_of(sight.experiment)
        backend = self._router.route(job_name, params)
        job = self._job_store.create_job(
            job_name,
            json.dumps(params),
            timeout=self._settings.default_timeout,
            executor_backend=backend,
            scoped_permissions=self._grants
            and self._grants.grant(backend, job_name, params, workspace),
            lock_key=_lock_key(sight.level, sight.experiment),
            term=term,
            workspace=workspace,
        )
        if job is not None:
            self._on_created(job.job_id, workspace, params)
        self._created.add(sight.key)
        return job is not None

    @contextmanager
    def _skipping_on_error(self, workspace: str | None, experiment_id: str) -> Iterator[None]:
        """One experiment's trouble is no other's."""
        place = "the server" if workspace is None else f"workspace {workspace!r}"
        what = f"experiment {experiment_id} of {place} for now"
        scope = (workspace, experiment_id)
        try:
            yield
        except (LeadershipLost, JobStoreUnavailable):
            raise
        except MlflowException as error:
            self._skips.note(scope, what, error.message)
        except Exception as error:  # noqa: BLE001 - whatever it is, all others wait behind it
            self._skips.note(scope, what, repr(error))
        else:
            self._skips.clear(scope)

    def _note_skipped_scorer(self, online_scorer: OnlineScorer, reason: str) -> None:
        experiment_id = online_scorer.online_config.experiment_id
        self._skips.note(
            (experiment_id, "scorer", online_scorer.name),
            f"scorer {online_scorer.name!r} of experiment {experiment_id}",
            reason,
        )


def _workspace_of(experiment: ScoredExperiment) -> str | None:
    return experiment.workspace if MLFLOW_ENABLE_WORKSPACES.get() else None


def _lock_key(level: Level, experiment: ScoredExperiment) -> str:
    params = {"experiment_id": experiment.experiment_id}
    return lock_key(level.job_name, params, _EXCLUSIVE_PARAMS, _workspace_of(experiment))


def _inside(workspace: str | None) -> AbstractContextManager:
    return nullcontext() if workspace is None else ServerWorkspaceContext(workspace)
