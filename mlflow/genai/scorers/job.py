"""The scorer job functions: on demand, and online for traces and for sessions."""

import logging
import os
import random
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.environment_variables import (
    _MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN,
    MLFLOW_ENABLE_WORKSPACES,
    MLFLOW_SERVER_JUDGE_INVOKE_MAX_WORKERS,
    MLFLOW_SERVER_ONLINE_SCORING_MAX_WORKERS,
)
from mlflow.exceptions import MlflowException
from mlflow.genai.scorers.base import _job_executor_scorer_context
from mlflow.genai.scorers.container_plan import (
    _add_host_metadata,
    _feedback_from_container,
    _is_custom_code_only,
    _scorer_failure_from_container,
    _trace_result_from_container,
    container_can_score,
    plan_for_container,
    score_traces_from_file,
)
from mlflow.genai.scorers.on_demand import (
    ScorerFailure,
    TraceResult,
    _extract_failures_from_feedbacks,
    _fetch_traces_batch,
    _group_traces_by_session_id,
    _run_session_scorer,
    _run_single_turn_scorer_batch,
    _score_session_traces,
    _score_single_turn_traces,
    get_trace_batches_for_scorer,
    load_registered_scorer,
)
from mlflow.genai.scorers.online import (
    OnlineScorer,
    OnlineScorerSampler,
    OnlineScoringConfig,
    OnlineSessionScoringProcessor,
    OnlineTraceLoader,
    OnlineTraceScoringProcessor,
)
from mlflow.genai.scorers.online.active_scorers import (
    group_by_experiment,
    reason_not_to_run,
    split_by_level,
)
from mlflow.genai.scorers.online.isolation import Isolation
from mlflow.genai.scorers.online.session_batch import SessionBatchScoring
from mlflow.genai.scorers.online.trace_batch import TraceBatchScoring
from mlflow.genai.scorers.scorer_utils import container_scoring_enabled
from mlflow.genai.scorers.scoring_progress import progress_of
from mlflow.server.handlers import _get_tracking_store
from mlflow.server.jobs import TransientError, job, submit_job
from mlflow.server.workspace_helpers import _get_workspace_store
from mlflow.utils.workspace_context import ServerWorkspaceContext

if TYPE_CHECKING:
    from mlflow.genai.scorers.online.container_scoring import OnlineContainerScorer
    from mlflow.server.jobs.job_container import DockerJobPlan

__all__ = [
    "INVOKE_SCORER_JOB_NAME",
    "ONLINE_SESSION_SCORER_JOB_NAME",
    "ONLINE_TRACE_SCORER_JOB_NAME",
    "ScorerFailure",
    "TraceResult",
    "_add_host_metadata",
    "_docker_supports_invoke_scorer_params",
    "_extract_failures_from_feedbacks",
    "_feedback_from_container",
    "_fetch_traces_batch",
    "_group_traces_by_session_id",
    "_is_custom_code_only",
    "_online_scorers_this_job_can_run",
    "_plan_invoke_scorer_job_for_docker",
    "_run_session_scorer",
    "_run_single_turn_scorer_batch",
    "_score_session_traces",
    "_score_single_turn_traces",
    "_score_traces_from_file",
    "_scorer_failure_from_container",
    "_trace_result_from_container",
    "get_trace_batches_for_scorer",
    "invoke_scorer_job",
    "run_online_scoring_scheduler",
    "run_online_session_scorer_job",
    "run_online_trace_scorer_job",
]

_logger = logging.getLogger(__name__)

INVOKE_SCORER_JOB_NAME = "invoke_scorer"
ONLINE_TRACE_SCORER_JOB_NAME = "run_online_trace_scorer"
ONLINE_SESSION_SCORER_JOB_NAME = "run_online_session_scorer"


@job(name=INVOKE_SCORER_JOB_NAME, max_workers=MLFLOW_SERVER_JUDGE_INVOKE_MAX_WORKERS.get())
def invoke_scorer_job(
    experiment_id: str,
    serialized_scorer: str,
    trace_ids: list[str],
    log_assessments: bool = True,
    username: str | None = None,
    scorer_version: int | None = None,
) -> dict[str, Any]:
    """Score named traces with one scorer.

    Args:
        experiment_id: The experiment that the traces and the scorer belong to.
        serialized_scorer: The scorer, as JSON.
        trace_ids: The traces; for a session-level scorer, those of one session.
        log_assessments: Whether the assessments are also stored at their traces.
        username: On whose behalf models behind the gateway are called.
        scorer_version: The registered version, None for a scorer that is not registered.

    Returns:
        A `TraceResult` as a dictionary for each trace id.
    """
    if username is not None:
        _call_gateway_as(username)
    scorer = load_registered_scorer(serialized_scorer, experiment_id, scorer_version)
    run = _run_session_scorer if scorer.is_session_level_scorer else _run_single_turn_scorer_batch
    results = run(scorer, trace_ids, _get_tracking_store(), log_assessments, progress_of)
    return {trace_id: asdict(result) for trace_id, result in results.items()}


@job(
    name=ONLINE_TRACE_SCORER_JOB_NAME,
    max_workers=MLFLOW_SERVER_ONLINE_SCORING_MAX_WORKERS.get(),
    exclusive=["experiment_id"],
)
def run_online_trace_scorer_job(
    experiment_id: str,
    online_scorers: list[dict[str, Any]],
    batch: list[dict[str, Any]] | None = None,
    next_checkpoint: dict[str, Any] | None = None,
    full: bool = False,
    isolate: bool = False,
) -> dict[str, int] | None:
    """Score the batch of traces that discovery cut for an experiment.

    Args:
        experiment_id: The experiment that the traces belong to.
        online_scorers: `OnlineScorer`s as dictionaries.
        batch: `{"trace_id": ..., "scorers": [names]}` for each trace. Without it the job looks for
            traces itself and moves the checkpoint itself, as in MLflow 3.18.
        next_checkpoint: Where discovery resumes. Not touched here: it is stored in the transaction
            in which this job succeeds (I5).
        full: True if more traces were waiting; they are discovered as soon as this job succeeds.
        isolate: True if scorers with code of their own are called in processes of their own, since
            an earlier job that began with these traces ended without a result.

    Returns:
        Counts: `traces_scored`, `assessments`, `failures`. None without a batch.

    Raises:
        TransientError: The database took only a part; another attempt adds the rest.
    """
    scorers = _online_scorers_this_job_can_run(_online_scorers(online_scorers))
    container_scorer = _container_scorer(experiment_id, ONLINE_TRACE_SCORER_JOB_NAME)
    store = _get_tracking_store()
    if batch is None:
        with _custom_scorer_code_allowed(container_scorer):
            processor = OnlineTraceScoringProcessor.create(
                experiment_id, scorers, store, container_scorer=container_scorer
            )
        processor.process_traces()
        return None

    with _custom_scorer_code_allowed(container_scorer):
        loaded = OnlineScorerSampler(scorers, run_custom_scorers_on_host=container_scorer is None)
    with Isolation(loaded, isolates=isolate) as isolation:
        scoring = TraceBatchScoring(
            loaded, OnlineTraceLoader(store), container_scorer, isolation, progress_of("traces")
        )
        return _complete(scoring, batch)


@job(
    name=ONLINE_SESSION_SCORER_JOB_NAME,
    max_workers=MLFLOW_SERVER_ONLINE_SCORING_MAX_WORKERS.get(),
    exclusive=["experiment_id"],
)
def run_online_session_scorer_job(
    experiment_id: str,
    online_scorers: list[dict[str, Any]],
    batch: list[dict[str, Any]] | None = None,
    next_checkpoint: dict[str, Any] | None = None,
    full: bool = False,
    isolate: bool = False,
) -> dict[str, int] | None:
    """Score the batch of completed sessions that discovery cut for an experiment.

    Args:
        experiment_id: The experiment that the sessions belong to.
        online_scorers: `OnlineScorer`s as dictionaries.
        batch: For each session `session_id`, `first_trace_timestamp_ms`,
            `last_trace_timestamp_ms` and `scorers`, their names. Without it the job looks for
            sessions itself and moves the checkpoint itself, as in MLflow 3.18.
        next_checkpoint: Where discovery resumes. Not touched here: it is stored in the transaction
            in which this job succeeds (I5).
        full: True if more sessions were waiting; they are discovered as soon as this job succeeds.
        isolate: True if scorers with code of their own are called in processes of their own, since
            an earlier job that began with these sessions ended without a result.

    Returns:
        Counts: `sessions_scored`, `assessments`, `failures`. None without a batch.

    Raises:
        TransientError: The database took or gave only a part; another attempt adds the rest.
    """
    scorers = _online_scorers_this_job_can_run(_online_scorers(online_scorers))
    container_scorer = _container_scorer(experiment_id, ONLINE_SESSION_SCORER_JOB_NAME)
    store = _get_tracking_store()
    if batch is None:
        with _custom_scorer_code_allowed(container_scorer):
            processor = OnlineSessionScoringProcessor.create(
                experiment_id, scorers, store, container_scorer=container_scorer
            )
        processor.process_sessions()
        return None

    with _custom_scorer_code_allowed(container_scorer):
        loaded = OnlineScorerSampler(scorers, run_custom_scorers_on_host=container_scorer is None)
    with Isolation(loaded, isolates=isolate) as isolation:
        scoring = SessionBatchScoring(
            experiment_id, loaded, store, container_scorer, isolation, progress_of("sessions")
        )
        return _complete(scoring, batch)


def _complete(
    scoring: TraceBatchScoring | SessionBatchScoring, batch: list[dict[str, Any]]
) -> dict[str, int]:
    counts = scoring.run(batch)
    if unstored := scoring.summary.unstored:
        # Succeeding would move the checkpoint past what is missing.
        raise TransientError(
            MlflowException(f"The database did not take or give {unstored} part(s) of the batch.")
        )
    return counts


def run_online_scoring_scheduler() -> None:
    """Submit an online job for each experiment and level that has scorers, as in MLflow 3.18.

    The leader's discovery has taken this over; it stays for callers of the old name. The jobs carry
    no batch and so find their traces themselves.
    """
    store = _get_tracking_store()
    for workspace_context in _get_online_scoring_workspace_contexts():
        with workspace_context:
            experiments = list(group_by_experiment(store.get_active_online_scorers()).items())
            # No experiment is always last in line for the few online jobs that run at once.
            random.shuffle(experiments)
            for experiment_id, online_scorers in experiments:
                trace_level, session_level = split_by_level(online_scorers, _warn_of_skipped)
                if trace_level:
                    _submit_online(run_online_trace_scorer_job, experiment_id, trace_level)
                if session_level:
                    _submit_online(run_online_session_scorer_job, experiment_id, session_level)


def _get_online_scoring_workspace_contexts() -> list[Any]:
    if not MLFLOW_ENABLE_WORKSPACES.get():
        return [nullcontext()]
    names = [workspace.name for workspace in _get_workspace_store().list_workspaces()]
    return [ServerWorkspaceContext(name) for name in names]


def _submit_online(
    function: Callable[..., Any], experiment_id: str, online_scorers: list[OnlineScorer]
) -> None:
    dumped = [asdict(online_scorer) for online_scorer in online_scorers]
    submit_job(function, {"experiment_id": experiment_id, "online_scorers": dumped})


def _online_scorers(dumped: list[dict[str, Any]]) -> list[OnlineScorer]:
    return [
        OnlineScorer(
            name=fields["name"],
            serialized_scorer=fields["serialized_scorer"],
            online_config=OnlineScoringConfig(**fields["online_config"]),
            scorer_version=fields.get("scorer_version"),
        )
        for fields in dumped
    ]


def _online_scorers_this_job_can_run(online_scorers: list[OnlineScorer]) -> list[OnlineScorer]:
    """Leave out custom scorers that this process's settings forbid, whatever was allowed before."""
    runnable = []
    for online_scorer in online_scorers:
        if reason := reason_not_to_run(online_scorer):
            _warn_of_skipped(online_scorer, reason)
        else:
            runnable.append(online_scorer)
    return runnable


def _warn_of_skipped(online_scorer: OnlineScorer, reason: str) -> None:
    _logger.warning("Online scorer %r is skipped: %s", online_scorer.name, reason)


def _container_scorer(experiment_id: str, job_name: str) -> "OnlineContainerScorer | None":
    if not container_scoring_enabled():
        return None
    # Not at the top: its module imports the facade that loads every job module, this one too.
    from mlflow.genai.scorers.online.container_scoring import OnlineContainerScorer

    return OnlineContainerScorer(experiment_id, job_name)


def _custom_scorer_code_allowed(container_scorer: "OnlineContainerScorer | None"):
    """While scorers are loaded: this process may compile custom code unless containers run it."""
    return _job_executor_scorer_context() if container_scorer is None else nullcontext()


def _call_gateway_as(username: str) -> None:
    os.environ["MLFLOW_TRACKING_USERNAME"] = username
    if internal_token := _MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN.get():
        os.environ["MLFLOW_TRACKING_PASSWORD"] = internal_token


def _docker_supports_invoke_scorer_params(params: dict[str, Any]) -> bool:
    return container_can_score(params)


def _plan_invoke_scorer_job_for_docker(
    params: dict[str, Any], input_dir: Path, container_input_dir: str
) -> "DockerJobPlan":
    return plan_for_container(params, input_dir, container_input_dir, _get_tracking_store())


def _score_traces_from_file(
    serialized_scorer: str,
    traces_path: str,
    experiment_id: str,
    scorer_version: int | None = None,
) -> dict[str, Any]:
    return score_traces_from_file(serialized_scorer, traces_path, experiment_id, scorer_version)
