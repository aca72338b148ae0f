"""Find what online scoring has to do and put it into PENDING jobs. Keeps I5 and I6.

For traces, discovery decides everything: it reads the checkpoint, looks at the traces after it,
and puts an explicit batch and the next checkpoint into the job, which moves the checkpoint by
succeeding (I5). For sessions the job still looks by itself.

An experiment has at most one unfinished job per level. That is looked up before the checkpoint is
read: as only the leader creates these jobs, no job can move the checkpoint in between. The rows are
inserted under the leader's term (I6).

A job costs a process, so an empty batch gets none as long as looking again is cheap: the window
begins at the checkpoint every time, sampling is deterministic, and a group looks at a bounded
number of traces. It gets one when a group has reached that bound (or those looks would be repeated
for ever), when the experiment has traces but no checkpoint yet (or an outage would let the window
slide past them), and when traces that no filter wants have piled up for an hour.
"""

import json
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from typing import Any, Protocol

from mlflow.entities import ExperimentTag, LifecycleStage
from mlflow.entities._job_status import JobStatus
from mlflow.environment_variables import (
    MLFLOW_ENABLE_WORKSPACES,
    MLFLOW_ONLINE_SCORING_DEFAULT_TRACE_COMPLETION_BUFFER_SECONDS,
)
from mlflow.exceptions import MlflowException
from mlflow.genai.scorers.job import (
    ONLINE_SESSION_SCORER_JOB_NAME,
    ONLINE_TRACE_SCORER_JOB_NAME,
)
from mlflow.genai.scorers.online import OnlineScorer, OnlineScorerSampler
from mlflow.genai.scorers.online.active_scorers import group_by_experiment, split_by_level
from mlflow.genai.scorers.online.constants import MAX_LOOKBACK_MS, MAX_TRACES_PER_JOB
from mlflow.server.jobs.discovery.skips import Skips
from mlflow.server.jobs.discovery.trace_batches import (
    FilterGroup,
    Position,
    TraceBatch,
    cut_batch,
)
from mlflow.server.jobs.discovery.trace_checkpoints import (
    CHECKPOINT_TAG,
    checkpoint_move,
    checkpoint_of,
    checkpoint_value,
)
from mlflow.server.jobs.discovery.waiting_traces import waiting_traces
from mlflow.server.jobs.lock_manager import lock_key
from mlflow.server.jobs.remote.online_grants import OnlineGrants
from mlflow.server.jobs.settings import JobSettings
from mlflow.server.workspace_helpers import _get_workspace_store
from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.errors import LeadershipLost
from mlflow.store.jobs.values import Term
from mlflow.store.tracking.abstract_store import AbstractStore
from mlflow.utils.workspace_context import ServerWorkspaceContext

_EXCLUSIVE_PARAMS = ["experiment_id"]
_MAX_LOOKS = 4 * MAX_TRACES_PER_JOB
_UNFINISHED = [JobStatus.PENDING, JobStatus.RUNNING, JobStatus.NEEDS_RECOVERY]


class Router(Protocol):
    """Chooses the backend of a submission; `JobRouter` does."""

    def route(self, job_name: str, params: dict[str, Any]) -> str | None: ...


def workspace_names() -> list[str | None]:
    """The workspaces to look in: all of them, or just None while workspaces are off."""
    if not MLFLOW_ENABLE_WORKSPACES.get():
        return [None]
    return [workspace.name for workspace in _get_workspace_store().list_workspaces()]


class OnlineScoringDiscovery:
    """The leader's search for online scoring work.

    Args:
        tracking_store: Traces, experiments and scorers of all workspaces.
        job_store: Where PENDING jobs are inserted; of all workspaces.
        settings: The timeout of the jobs.
        router: The backend of the jobs.
        grants: What the jobs may open if their backend is remote; None if no backend is.
        workspaces: Names the workspaces to look in.
        completion_buffer_seconds: Age that a trace must have before it is looked at, so that it is
            complete by then.
        max_traces: Most traces in one batch.
        max_looks: Most traces that the scorers of one filter look at for one batch.
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
        workspaces: Callable[[], Iterable[str | None]] = workspace_names,
        completion_buffer_seconds: float | None = None,
        max_traces: int = MAX_TRACES_PER_JOB,
        max_looks: int = _MAX_LOOKS,
        on_created: Callable[[str, str | None, dict[str, Any]], None] = lambda *_: None,
    ) -> None:
        if completion_buffer_seconds is None:
            completion_buffer_seconds = (
                MLFLOW_ONLINE_SCORING_DEFAULT_TRACE_COMPLETION_BUFFER_SECONDS.get()
            )
        self._tracking_store = tracking_store
        self._job_store = job_store
        self._settings = settings
        self._router = router
        self._grants = grants
        self._workspaces = workspaces
        self._buffer_ms = max(0, int(completion_buffer_seconds * 1000))
        self._max_traces = max_traces
        self._max_looks = max_looks
        self._on_created = on_created
        self._skips = Skips()
        self._one_at_a_time = threading.Lock()

    def run(self, term: Term) -> None:
        """Look at every experiment of every workspace once.

        Raises:
            LeadershipLost: The term has ended. What was created before stays.
        """
        for workspace in self._workspaces():
            self._discover(term, workspace, only_experiment=None)

    def run_experiment(self, term: Term, workspace: str | None, experiment_id: str) -> None:
        """Look at one experiment now, as after a batch that was full.

        Raises:
            LeadershipLost: The term has ended.
        """
        self._discover(term, workspace, only_experiment=experiment_id)

    def _discover(self, term: Term, workspace: str | None, only_experiment: str | None) -> None:
        with self._one_at_a_time, self._skipping_on_error(workspace), _inside(workspace):
            groups = group_by_experiment(self._tracking_store.get_active_online_scorers())
            if only_experiment is not None:
                groups = {key: value for key, value in groups.items() if key == only_experiment}
            if not groups:
                return
            busy = self._experiments_with_an_unfinished_trace_job(workspace)
            experiments = list(groups.items())
            # No experiment is always last in line for the few online jobs that run at once.
            random.shuffle(experiments)
            for experiment_id, online_scorers in experiments:
                with self._skipping_on_error(workspace, experiment_id):
                    self._discover_experiment(
                        term, workspace, experiment_id, online_scorers, experiment_id in busy
                    )

    def _discover_experiment(
        self,
        term: Term,
        workspace: str | None,
        experiment_id: str,
        online_scorers: list[OnlineScorer],
        is_scoring_traces: bool,
    ) -> None:
        experiment = self._tracking_store.get_experiment(experiment_id)
        if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
            return
        trace_level, session_level = split_by_level(online_scorers, self._note_skipped_scorer)
        trace_level = self._grantable(ONLINE_TRACE_SCORER_JOB_NAME, experiment_id, trace_level)
        session_level = self._grantable(
            ONLINE_SESSION_SCORER_JOB_NAME, experiment_id, session_level
        )
        if trace_level and not is_scoring_traces:
            params = self._trace_job_params(experiment_id, checkpoint_of(experiment), trace_level)
            if params is not None:
                self._create(term, workspace, ONLINE_TRACE_SCORER_JOB_NAME, params)
        if session_level:
            params = _common_params(experiment_id, session_level)
            self._create(term, workspace, ONLINE_SESSION_SCORER_JOB_NAME, params)

    def _trace_job_params(
        self,
        experiment_id: str,
        checkpoint: Position | None,
        online_scorers: list[OnlineScorer],
    ) -> dict[str, Any] | None:
        """Params of the next trace job, or None if there is nothing worth one."""
        now_ms = self._job_store.now_ms()
        window_end_ms = now_ms - self._buffer_ms
        first_start = Position(window_end_ms - MAX_LOOKBACK_MS)
        if checkpoint is not None and checkpoint.timestamp_ms > now_ms:
            self._take_back_future_checkpoint(experiment_id, checkpoint, first_start)
            checkpoint = first_start
        start = checkpoint or first_start
        if start.timestamp_ms >= window_end_ms:
            return None

        batch = cut_batch(
            self._filter_groups(experiment_id, online_scorers, start, window_end_ms),
            window_end_ms,
            self._max_traces,
            self._max_looks,
        )
        if not self._is_worth_a_job(experiment_id, batch, checkpoint, window_end_ms):
            return None
        return {
            **_common_params(experiment_id, online_scorers),
            "batch": [
                {"trace_id": trace_id, "scorers": names}
                for trace_id, names in batch.scorers_of.items()
            ],
            "next_checkpoint": checkpoint_move(experiment_id, batch.reaches),
            "full": batch.full,
        }

    def _filter_groups(
        self,
        experiment_id: str,
        online_scorers: list[OnlineScorer],
        start: Position,
        window_end_ms: int,
    ) -> Iterator[FilterGroup]:
        # The code of custom scorers is no matter of the leader's: they are sampled by name.
        sampler = OnlineScorerSampler(online_scorers, run_custom_scorers_on_host=False)
        for filter_string, scorers in sampler.group_scorers_by_filter(session_level=False).items():
            yield FilterGroup(
                waiting=waiting_traces(
                    self._tracking_store, experiment_id, start, window_end_ms, filter_string
                ),
                sample=lambda trace_id, scorers=scorers: [
                    scorer.name for scorer in sampler.sample(trace_id, scorers)
                ],
            )

    def _is_worth_a_job(
        self,
        experiment_id: str,
        batch: TraceBatch,
        checkpoint: Position | None,
        window_end_ms: int,
    ) -> bool:
        if batch.scorers_of or batch.full:
            return True
        if checkpoint is None:
            return batch.looked_at > 0
        if window_end_ms - checkpoint.timestamp_ms < MAX_LOOKBACK_MS:
            return False
        unfiltered = waiting_traces(
            self._tracking_store, experiment_id, checkpoint, window_end_ms, page_size=1
        )
        return next(unfiltered, None) is not None

    def _take_back_future_checkpoint(
        self, experiment_id: str, checkpoint: Position, start: Position
    ) -> None:
        """Begin as if never run: a checkpoint ahead of all clocks would stop scoring until then.

        The one write to a checkpoint outside T5, where it could only move forwards.
        """
        self._skips.note(
            (experiment_id, CHECKPOINT_TAG, checkpoint),
            f"the trace checkpoint of experiment {experiment_id}",
            f"{checkpoint.timestamp_ms} lies in the future; set back to {start.timestamp_ms}",
        )
        tag = ExperimentTag(CHECKPOINT_TAG, json.dumps(checkpoint_value(start)))
        self._tracking_store.set_experiment_tag(experiment_id, tag)

    def _grantable(
        self, job_name: str, experiment_id: str, online_scorers: list[OnlineScorer]
    ) -> list[OnlineScorer]:
        if self._grants is None:
            return online_scorers
        return self._grants.grantable(
            job_name,
            online_scorers,
            lambda scorers: _common_params(experiment_id, scorers),
            self._note_skipped_scorer,
        )

    def _create(
        self, term: Term, workspace: str | None, job_name: str, params: dict[str, Any]
    ) -> None:
        backend = self._router.route(job_name, params)
        grant = self._grants and self._grants.grant(backend, job_name, params, workspace)
        job = self._job_store.create_job(
            job_name,
            json.dumps(params),
            timeout=self._settings.default_timeout,
            executor_backend=backend,
            scoped_permissions=grant,
            lock_key=lock_key(job_name, params, _EXCLUSIVE_PARAMS, workspace),
            term=term,
            workspace=workspace,
        )
        if job is not None:
            self._on_created(job.job_id, workspace, params)

    def _experiments_with_an_unfinished_trace_job(self, workspace: str | None) -> set[str]:
        experiment_ids = set()
        page_token = None
        while True:
            jobs, page_token = self._job_store.search_jobs(
                job_name=ONLINE_TRACE_SCORER_JOB_NAME,
                statuses=_UNFINISHED,
                workspace=workspace,
                page_token=page_token,
            )
            experiment_ids.update(json.loads(job.params).get("experiment_id") for job in jobs)
            if page_token is None:
                return experiment_ids

    @contextmanager
    def _skipping_on_error(self, *scope: str | None) -> Iterator[None]:
        """One workspace's or one experiment's trouble is no other's."""
        try:
            yield
        except LeadershipLost:
            raise
        except MlflowException as error:
            self._skips.note(scope, f"{_described(*scope)} for now", error.message)
        else:
            self._skips.clear(scope)

    def _note_skipped_scorer(self, online_scorer: OnlineScorer, reason: str) -> None:
        experiment_id = online_scorer.online_config.experiment_id
        self._skips.note(
            (experiment_id, "scorer", online_scorer.name),
            f"scorer {online_scorer.name!r} of experiment {experiment_id}",
            reason,
        )


def _common_params(experiment_id: str, online_scorers: list[OnlineScorer]) -> dict[str, Any]:
    return {
        "experiment_id": experiment_id,
        "online_scorers": [asdict(online_scorer) for online_scorer in online_scorers],
    }


def _inside(workspace: str | None) -> AbstractContextManager:
    return nullcontext() if workspace is None else ServerWorkspaceContext(workspace)


def _described(workspace: str | None, experiment_id: str | None = None) -> str:
    place = "the server" if workspace is None else f"workspace {workspace!r}"
    return place if experiment_id is None else f"experiment {experiment_id} of {place}"
