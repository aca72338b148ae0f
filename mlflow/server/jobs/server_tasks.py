"""The periodic tasks of an MLflow server."""

from collections.abc import Callable
from functools import cache

from mlflow.environment_variables import MLFLOW_SQL_TRACE_ROLLUPS_ENABLED
from mlflow.genai.discovery.schedule import POLL_INTERVAL_MINUTES
from mlflow.server.jobs.cron import crontab
from mlflow.server.jobs.discovery.issue_schedules import submit_due_detections
from mlflow.server.jobs.discovery.levels import CHECKPOINT_TAGS
from mlflow.server.jobs.periodic import Every, PeriodicTask
from mlflow.server.jobs.periodic_store import initialize_periodic_tasks_tracking_store
from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.values import Term
from mlflow.store.tracking.abstract_store import AbstractStore
from mlflow.tracing.trace_archival_service import (
    _get_trace_archival_scheduler_settings,
    _run_trace_archival_scheduler,
)
from mlflow.tracing.trace_rollup_service import (
    run_sql_trace_rollup_scheduler,
    validate_and_resolve_sql_trace_rollup_schedule,
)
from mlflow.utils.mlflow_tags import MLFLOW_ISSUE_DETECTION_SCHEDULE

_ARCHIVAL = "trace-archival"
_RETENTION_SECONDS = 600


def server_tasks(
    job_store: AbstractJobStore,
    completed_job_ttl_seconds: float | None,
    discover_online_scoring: Callable[[Term], None],
) -> list[PeriodicTask]:
    """The table.

    Args:
        job_store: Whose old rows retention deletes.
        completed_job_ttl_seconds: Age at which terminal rows go; None keeps them.
        discover_online_scoring: One pass of discovery over all experiments.

    Raises:
        MlflowException: Rollups are on and their schedule cannot be read.
    """
    # Built when first needed, since most servers neither archive nor roll up traces.
    tracking_store = cache(initialize_periodic_tasks_tracking_store)
    tasks = [
        PeriodicTask(
            "online-scoring",
            Every(60),
            discover_online_scoring,
            has_work=lambda: job_store.has_online_scoring(CHECKPOINT_TAGS),
        ),
        PeriodicTask(
            _ARCHIVAL,
            Every(60),
            lambda _: _archive_traces(tracking_store),
            has_work=lambda: _archival_is_due(job_store),
        ),
        PeriodicTask(
            "issue-detection",
            Every(60 * POLL_INTERVAL_MINUTES),
            lambda term: submit_due_detections(job_store, term),
            has_work=lambda: job_store.has_tagged_experiment(MLFLOW_ISSUE_DETECTION_SCHEDULE),
        ),
        PeriodicTask(
            "job-retention",
            Every(_RETENTION_SECONDS),
            lambda term: _delete_old_jobs(job_store, term, completed_job_ttl_seconds),
            has_work=lambda: job_store.has_expired(completed_job_ttl_seconds),
        ),
    ]
    if MLFLOW_SQL_TRACE_ROLLUPS_ENABLED.get():
        tasks.append(_rollups(tracking_store))
    return tasks


def _archival_is_due(job_store: AbstractJobStore) -> bool:
    """Whether its own interval is over, which is longer than a minute; whoever ran it last."""
    settings = _get_trace_archival_scheduler_settings()
    if settings is None:
        return False
    last_ms = job_store.last_periodic_run(_ARCHIVAL) or 0
    return job_store.now_ms() - last_ms >= settings.interval_seconds * 1000


def _archive_traces(tracking_store: Callable[[], AbstractStore]) -> None:
    if settings := _get_trace_archival_scheduler_settings():
        _run_trace_archival_scheduler(tracking_store(), settings=settings)


def _delete_old_jobs(
    job_store: AbstractJobStore, term: Term, completed_job_ttl_seconds: float | None
) -> None:
    while job_store.delete_expired(term, completed_job_ttl_seconds):
        pass


def _rollups(tracking_store: Callable[[], AbstractStore]) -> PeriodicTask:
    schedule = validate_and_resolve_sql_trace_rollup_schedule()
    due = crontab(
        minute=schedule.minute,
        hour=schedule.hour,
        day=schedule.day,
        month=schedule.month,
        day_of_week=schedule.day_of_week,
    )
    return PeriodicTask(
        "sql-trace-rollup",
        due,
        lambda _: run_sql_trace_rollup_scheduler(tracking_store()),
        runs_at_first_sight=False,
    )
