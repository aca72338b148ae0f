"""The runner process: start the loops, wait for a request to stop, drain.

    python -m mlflow.server.jobs.runner

Its first failure to start ends it with a code that makes the server stop too; once it runs, only a
request ends it. It drains: no new claims, the leadership given back, a grace period in which
running jobs may end. What is left then is stopped and handed to recovery (T10). A second Ctrl-C
cuts the grace short.
"""

import logging
import os

from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR
from mlflow.server.jobs.backend_call import BackendFailed, backend_call
from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.executor import EXECUTOR_JOB_RUNNER_FATAL_EXIT_CODE
from mlflow.server.jobs.executor_registry import get_executor_registry
from mlflow.server.jobs.logging_utils import configure_logging_for_jobs
from mlflow.server.jobs.owned_jobs import End
from mlflow.server.jobs.requirements import check_requirements
from mlflow.server.jobs.scheduler_lease import new_replica_id
from mlflow.server.jobs.server_watch import SERVER_PID_ENV_VAR, ServerWatch
from mlflow.server.jobs.settings import JobSettings, deprecated_notices
from mlflow.server.jobs.stop_requests import StopRequest, StopRequests
from mlflow.server.jobs.watchdog import Watchdog
from mlflow.server.jobs.wiring import Parts, build
from mlflow.store.jobs.errors import JobStoreUnavailable
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore

# By name: this module runs as `__main__`.
_logger = logging.getLogger("mlflow.server.jobs.runner")

# Jobs of a server that is gone can hardly do their work, but may be just about to end.
_SERVER_GONE_GRACE_SECONDS = 2.0
_DRAIN_LOOK_SECONDS = 0.1
_STOP_SECONDS = 5.0


def main() -> int:
    """Run until asked to stop; answer the exit code."""
    configure_logging_for_jobs()
    stops = StopRequests()
    stops.catch_signals()
    clock = Clock()
    watchdog = Watchdog()
    try:
        settings = JobSettings.from_env()
        parts = _start(settings, clock, watchdog)
    except Exception:
        _logger.exception("The job runner cannot start")
        return EXECUTOR_JOB_RUNNER_FATAL_EXIT_CODE
    _watch_server(stops, clock)
    request = stops.get()
    _logger.info("The job runner stops (%s)", request.name)
    drain(parts, stops, clock, settings.drain_grace, request)
    stop(parts)
    watchdog.stop()
    return 0


def drain(
    parts: Parts, stops: StopRequests, clock: Clock, grace_seconds: float, request: StopRequest
) -> None:
    """Take no more work, let others lead, and give the running jobs their grace."""
    for loop in [parts.claiming, *parts.leading]:
        loop.stop()
    parts.claimer.drain()
    if parts.scheduler is not None:
        _resign(parts)
    began = clock.monotonic()
    grace = _grace(request, grace_seconds)
    interrupts = int(request is StopRequest.INTERRUPT)
    while not parts.owned.wait_until_empty(0) and clock.monotonic() < began + grace:
        request = stops.get(_DRAIN_LOOK_SECONDS)
        if request is None:
            continue
        grace = max(grace, _grace(request, grace_seconds))
        interrupts += request is StopRequest.INTERRUPT
        if interrupts > 1:
            return


def stop(parts: Parts) -> None:
    """Stop what still runs, leave it to recovery (T10), and end all loops."""
    for job in parts.owned.all():
        job.stop(End.ABANDONED)
    for executor in parts.executors:
        try:
            with backend_call():
                executor.stop_executor()
        except BackendFailed as e:
            _logger.warning("An executor did not stop cleanly: %s", e)
    if not parts.owned.wait_until_empty(_STOP_SECONDS):
        _abandon(parts)
    for loop in parts.supervising:
        loop.stop()
    parts.wakeups.stop()


def _start(settings: JobSettings, clock: Clock, watchdog: Watchdog) -> Parts:
    for notice in deprecated_notices():
        _logger.warning(notice)
    check_requirements()
    replica_id = new_replica_id()
    tracking_uri = os.environ[BACKEND_STORE_URI_ENV_VAR]
    store = SqlAlchemyJobStore(tracking_uri)
    registry = get_executor_registry()
    parts = build(
        settings, store, registry, tracking_uri, replica_id, clock, watchdog.expect_sign_by
    )
    for executor in parts.executors:
        executor.start_executor()
    for loop in [*parts.supervising, parts.claiming, *parts.leading]:
        loop.start()
    try:
        parts.wakeups.start(parts.wake)
    except OSError as e:
        _logger.warning("No wake-ups come from this server's workers: %s", e)
    _logger.info(
        "Job runner %s serves %s; scheduler %s",
        replica_id,
        ", ".join(registry.get_registered_names()),
        "on" if parts.scheduler else "off",
    )
    return parts


def _watch_server(stops: StopRequests, clock: Clock) -> None:
    if pid := os.environ.get(SERVER_PID_ENV_VAR):
        ServerWatch(int(pid), lambda: stops.put(StopRequest.SERVER_GONE), clock).start()


def _grace(request: StopRequest, grace_seconds: float) -> float:
    if request is StopRequest.SERVER_GONE:
        return min(grace_seconds, _SERVER_GONE_GRACE_SECONDS)
    return grace_seconds


def _resign(parts: Parts) -> None:
    try:
        parts.scheduler.resign()
    except JobStoreUnavailable as e:
        _logger.warning("The scheduler lease could not be given back: %s", e.message)


def _abandon(parts: Parts) -> None:
    claims = parts.owned.held_claims()
    try:
        abandoned = parts.store.abandon(claims)
    except JobStoreUnavailable as e:
        _logger.warning("%d jobs are left until their leases run out: %s", len(claims), e.message)
    else:
        _logger.info("%d jobs are left to recovery", abandoned)


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # A plugin's thread must not keep a runner alive that has nothing left to do.
    os._exit(code)
