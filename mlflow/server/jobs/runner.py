"""The runner process: start the loops, wait for a request to stop, drain.

    python -m mlflow.server.jobs.runner

A failure to start ends it with a code that makes the server stop too; once it runs, only a request
ends it. It drains: no new claims, the leadership given back, a grace period in which running jobs
may end. What is left then is stopped and handed to recovery (T10). A second signal, or the order of
an impatient launcher (`runner_orders`), cuts the grace short. A database that takes a question and
never answers holds none of this up: whoever asks it is left behind. What a runner cannot do itself,
when it is killed or stopped, its watchdog does (`watchdog`), or the kernel (`kernel_alarm`).
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection
from typing import NoReturn

from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR
from mlflow.server.jobs.backend_call import BackendFailed, backend_call
from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.executor import (
    EXECUTOR_JOB_RUNNER_FATAL_EXIT_CODE,
    AbstractJobExecutor,
)
from mlflow.server.jobs.executor_registry import get_executor_registry
from mlflow.server.jobs.kernel_alarm import KernelAlarm
from mlflow.server.jobs.local.family import mark_of_all_families
from mlflow.server.jobs.logging_utils import configure_logging_for_jobs
from mlflow.server.jobs.owned_jobs import End
from mlflow.server.jobs.parts import Parts
from mlflow.server.jobs.requirements import check_requirements
from mlflow.server.jobs.runner_orders import ORDERS_ON_STDIN
from mlflow.server.jobs.scheduler_lease import new_replica_id
from mlflow.server.jobs.server_watch import SERVER_PID_ENV_VAR, ServerWatch
from mlflow.server.jobs.settings import JobSettings, deprecated_notices
from mlflow.server.jobs.stop_requests import StopRequest, StopRequests
from mlflow.server.jobs.trust import watchdog_grace
from mlflow.server.jobs.watchdog import Watchdog
from mlflow.server.jobs.wiring import build
from mlflow.store.jobs.errors import JobStoreUnavailable
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore

# By name: this module may run as `__main__`.
_logger = logging.getLogger("mlflow.server.jobs.runner")

# Jobs of a server that is gone can hardly do their work, but may be just about to end.
_SERVER_GONE_GRACE_SECONDS = 2.0
_DRAIN_LOOK_SECONDS = 0.1
# Together less than the launcher's patience beyond the grace (`launch`).
_HAND_OVER_SECONDS = 2.0
_STOP_SECONDS = 5.0
_RECORD_SECONDS = 2.5
_LAST_WORDS_SECONDS = 1.5


def run(arguments: Collection[str]) -> NoReturn:
    """Be a runner, all the life of this process."""
    code = main(arguments)
    logging.shutdown()
    # A plugin's thread must not keep a runner alive that has nothing left to do.
    os._exit(code)


def main(arguments: Collection[str] = ()) -> int:
    """Run until asked to stop; answer the exit code."""
    # Until there is something to end in order; see `StopRequests.begin`.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    configure_logging_for_jobs()
    stops = StopRequests()
    clock = Clock()
    watchdog = Watchdog(mark_of_all_families())
    server = _watched_server(clock)
    orders = _own_stdin() if ORDERS_ON_STDIN in arguments else None
    if orders is not None:
        stops.follow(orders, on_end=server.terminate if server else None)
    try:
        settings = JobSettings.from_env()
        replica_id = new_replica_id()
        parts = _prepare(settings, replica_id, clock, watchdog)
        stops.begin()
        _start(parts, replica_id)
    except Exception:
        _logger.exception("The job runner cannot start")
        return EXECUTOR_JOB_RUNNER_FATAL_EXIT_CODE
    if server:
        server.start(lambda: stops.put(StopRequest.SERVER_GONE))
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
    began = clock.monotonic()
    handing_over = _aside("hand-over", lambda: _hand_over(parts))
    # Most often over at once, and then an idle runner has nothing to wait for.
    handing_over.join(_HAND_OVER_SECONDS)
    grace = _grace(request, grace_seconds)
    signals = int(request.is_signal)
    is_urgent = request is StopRequest.NOW
    while not is_urgent and clock.monotonic() < began + grace:
        # A claim that is still under way may bring a job.
        if not handing_over.is_alive() and parts.owned.wait_until_empty(0):
            return
        request = stops.get(_DRAIN_LOOK_SECONDS)
        if request is None:
            continue
        grace = max(grace, _grace(request, grace_seconds))
        signals += request.is_signal
        is_urgent = request is StopRequest.NOW or signals > 1


def stop(parts: Parts) -> None:
    """Stop what still runs, leave it to recovery (T10), and end all loops."""
    # I3: a claim that was under way all the time may yet bring jobs, which nobody could run.
    parts.owned.call_after_add(lambda _: _give_up(parts))
    left = _give_up(parts)
    _stop_executors(parts)
    deadline = time.monotonic() + _RECORD_SECONDS + _LAST_WORDS_SECONDS
    parts.owned.wait_until_empty(_RECORD_SECONDS)
    leaving = _aside("last-words", lambda: _leave(parts, left))
    leaving.join(max(deadline - time.monotonic(), 0.0))
    if leaving.is_alive():
        _logger.warning("The database does not answer; what still ran waits for its lease's end")
    for loop in parts.supervising:
        loop.stop()


def _prepare(settings: JobSettings, replica_id: str, clock: Clock, watchdog: Watchdog) -> Parts:
    for notice in [*deprecated_notices(), *settings.notices]:
        _logger.warning(notice)
    check_requirements()
    tracking_uri = os.environ[BACKEND_STORE_URI_ENV_VAR]
    store = SqlAlchemyJobStore(tracking_uri)
    parts = build(
        settings,
        store,
        get_executor_registry(),
        tracking_uri,
        replica_id,
        clock,
        _those_who_expect_signs(settings, watchdog),
    )
    for executor in parts.executors:
        executor.start_executor()
    return parts


def _start(parts: Parts, replica_id: str) -> None:
    for loop in [*parts.supervising, parts.claiming, *parts.leading]:
        loop.start()
    parts.wakeups.start(parts.wake)
    _logger.info(
        "Job runner %s serves %s; scheduler %s",
        replica_id,
        ", ".join(get_executor_registry().get_registered_names()),
        "on" if parts.scheduler else "off",
    )


def _those_who_expect_signs(settings: JobSettings, watchdog: Watchdog) -> Callable[[float], None]:
    """The watchdog, which says what it does; and a little later the kernel, which does not."""
    alarm = KernelAlarm()
    later = watchdog_grace(settings.job_lease_ttl) / 2

    def expect_sign_by(instant: float) -> None:
        watchdog.expect_sign_by(instant)
        alarm.kill_at(instant + later)

    return expect_sign_by


def _watched_server(clock: Clock) -> ServerWatch | None:
    pid = os.environ.get(SERVER_PID_ENV_VAR)
    return ServerWatch(int(pid), clock) if pid else None


def _own_stdin() -> int:
    # What this process starts must not read what is meant for it.
    orders = os.dup(sys.stdin.fileno())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    return orders


def _grace(request: StopRequest, grace_seconds: float) -> float:
    if request.leaves_jobs_alone:
        return grace_seconds
    return min(grace_seconds, _SERVER_GONE_GRACE_SECONDS)


def _aside(name: str, call: Callable[[], None]) -> threading.Thread:
    """Begin something that may never end, and must not keep this process."""
    thread = threading.Thread(target=call, name=f"mlflow-runner-{name}", daemon=True)
    thread.start()
    return thread


def _hand_over(parts: Parts) -> None:
    parts.claimer.drain()
    if parts.scheduler is not None:
        _resign(parts)
        parts.farewell()


def _give_up(parts: Parts) -> bool:
    """Let nothing that is owned go on; whether anything is."""
    left = parts.owned.all()
    for job in left:
        job.stop(End.ABANDONED)
    return bool(left)


def _leave(parts: Parts, has_left_jobs: bool) -> None:
    if not parts.owned.wait_until_empty(0):
        _abandon(parts)
    if has_left_jobs:
        parts.farewell()
    parts.wakeups.stop()


def _resign(parts: Parts) -> None:
    try:
        parts.scheduler.resign()
    except JobStoreUnavailable as e:
        _logger.warning("The scheduler lease could not be given back: %s", e.message)


def _stop_executors(parts: Parts) -> None:
    """Stop all at once; one that does not answer keeps neither the others nor this process."""
    stopping = [
        _aside("executor-end", lambda executor=executor: _stop_executor(executor))
        for executor in parts.executors
    ]
    deadline = time.monotonic() + _STOP_SECONDS
    for thread in stopping:
        thread.join(max(deadline - time.monotonic(), 0.0))
    if any(thread.is_alive() for thread in stopping):
        _logger.warning("An executor did not stop within %g s and is left behind", _STOP_SECONDS)


def _stop_executor(executor: AbstractJobExecutor) -> None:
    try:
        with backend_call():
            executor.stop_executor()
    except BackendFailed as e:
        _logger.warning("An executor did not stop cleanly: %s", e)


def _abandon(parts: Parts) -> None:
    claims = parts.owned.held_claims()
    try:
        abandoned = parts.store.abandon(claims)
    except JobStoreUnavailable as e:
        _logger.warning("%d jobs are left until their leases run out: %s", len(claims), e.message)
    else:
        _logger.info("%d jobs are left to recovery", abandoned)


if __name__ == "__main__":
    run(sys.argv[1:])
