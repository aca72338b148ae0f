"""The only place where the parts of a runner and its loops are built and joined."""

import json
from collections.abc import Callable, Mapping

from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES, MLFLOW_GATEWAY_URI
from mlflow.genai.scorers.job import ONLINE_SESSION_SCORER_JOB_NAME, ONLINE_TRACE_SCORER_JOB_NAME
from mlflow.server.jobs.cancellation import Cancellation
from mlflow.server.jobs.claimer import Claimer
from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.discovery.lazy import LazyDiscovery
from mlflow.server.jobs.executor import AbstractJobExecutor
from mlflow.server.jobs.executor_registry import JobExecutorRegistry
from mlflow.server.jobs.functions import (
    JobFunctionMetadata,
    _job_name_to_fn_fullname_map,
    get_job_function,
    load_job_functions,
)
from mlflow.server.jobs.lifecycle import Lifecycle, Surroundings
from mlflow.server.jobs.lock_manager import LockKeys
from mlflow.server.jobs.loop import Loop
from mlflow.server.jobs.next_batches import NextBatches, is_full_batch
from mlflow.server.jobs.outcome import Outcome, Retry, RetryPolicy
from mlflow.server.jobs.owned_jobs import OwnedJobs
from mlflow.server.jobs.pace import QUICK_POLL_SECONDS, Pace
from mlflow.server.jobs.parts import Parts
from mlflow.server.jobs.periodic import PeriodicTasks
from mlflow.server.jobs.recovery import Recovery
from mlflow.server.jobs.renewals import Renewals
from mlflow.server.jobs.scheduler import Scheduler, sweep_seconds
from mlflow.server.jobs.scheduler_lease import SchedulerLease
from mlflow.server.jobs.self_fencing import SelfFencing
from mlflow.server.jobs.server_tasks import server_tasks
from mlflow.server.jobs.settings import JobSettings
from mlflow.server.jobs.sweep import Sweep
from mlflow.server.jobs.trust import watchdog_grace
from mlflow.server.jobs.unserved_backends import UnservedBackends
from mlflow.server.jobs.wakeups import postgresql
from mlflow.server.jobs.wakeups.announce import Announcer
from mlflow.server.jobs.wakeups.base import Hint, Receivers
from mlflow.server.jobs.wakeups.local_socket import local_receiver
from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.jobs.values import Claim, ClaimedJob, RecoveryCandidate

_LONGEST_FENCING_BEAT_SECONDS = 1.0
_LONGEST_CANCEL_PAUSE_SECONDS = 1.0
_SCORING_JOBS = frozenset({ONLINE_TRACE_SCORER_JOB_NAME, ONLINE_SESSION_SCORER_JOB_NAME})


def build(
    settings: JobSettings,
    store: SqlAlchemyJobStore,
    registry: JobExecutorRegistry,
    tracking_uri: str,
    replica_id: str,
    clock: Clock,
    expect_sign_by: Callable[[float], None] | None = None,
) -> Parts:
    """Join the parts of one runner; nothing runs yet.

    Args:
        settings: The settings of this server.
        store: The job store of all workspaces.
        registry: The configured backends.
        tracking_uri: The backend store, where jobs on this host read and write.
        replica_id: This runner, unlike any other.
        clock: Monotonic time.
        expect_sign_by: Tells the watchdog of this process until when it has to be awake.
    """
    backends = _backends(settings, registry)
    max_workers = _max_workers()
    owned = OwnedJobs(clock)
    remote_backends = frozenset(
        name for name, executor in backends.items() if executor.remote_execution
    )
    sender = postgresql.sender_name()
    announcer = Announcer(store.engine, clock, sender)
    wakeups = _receivers(store, clock, sender)
    pace = Pace(settings.poll_interval, lambda: wakeups.hears_all)

    def found_work() -> None:
        claiming.wake()
        announcer.to_others(Hint.WORK)

    surroundings = _surroundings(settings, remote_backends, tracking_uri)
    lease = SchedulerLease(store, clock, replica_id, settings.scheduler_lease_ttl)
    discovery = LazyDiscovery(
        store, settings, registry, lambda *created: next_batches.expect(*created), found_work
    )
    next_batches = NextBatches(
        store, lease, discovery.run_experiment, pace, lambda: discovering.wake()
    )
    discovering = Loop("next-batches", next_batches.beat, clock)

    def job_ended(job: ClaimedJob, written: Outcome | None) -> None:
        if isinstance(written, Retry):
            claimer.expect_retry(written.delay)
        if is_full_batch(job, written, _SCORING_JOBS):
            discovering.wake()
            if lease.term is None:
                announcer.to_others(Hint.LEADER)

    lifecycle = Lifecycle(
        store,
        owned,
        backends,
        clock,
        surroundings,
        _metadata_of,
        job_ended,
        lambda successes: claimer.succeed_all(successes),
        on_slot_free=lambda: claiming.wake(),
    )
    claimer = Claimer(
        store,
        owned,
        lifecycle,
        clock,
        settings,
        pace,
        replica_id,
        [*backends],
        max_workers,
        LockKeys(lambda job_name: _metadata_of(job_name).exclusive),
        remote_backends,
        look_again=lambda: claiming.wake(),
    )
    # When a database comes back, nobody else need have noticed that it was away.
    claiming = Loop("claims", claimer.beat, clock, QUICK_POLL_SECONDS)
    cancellation = Cancellation(store, owned, pace)
    canceling = Loop("cancellations", cancellation.beat, clock, _LONGEST_CANCEL_PAUSE_SECONDS)
    return Parts(
        store=store,
        owned=owned,
        claimer=claimer,
        executors=[executor for name, executor in backends.items() if name is not None],
        claiming=claiming,
        canceling=canceling,
        supervising=[
            canceling,
            *_keeping(settings, store, owned, cancellation, clock, expect_sign_by),
        ],
        **_leading(
            settings,
            store,
            backends,
            clock,
            replica_id,
            lease,
            lifecycle,
            discovery,
            discovering,
            found_work,
            pace,
        ),
        discovering=discovering,
        wakeups=wakeups,
        announcer=announcer,
    )


def _receivers(store: SqlAlchemyJobStore, clock: Clock, sender: str) -> Receivers:
    local = local_receiver(store.engine.url)
    receivers = [] if local is None else [local]
    if postgresql.notifies(store.engine):

        def hears_own() -> bool:
            return local is not None and local.hears_own

        receivers.append(postgresql.PostgresReceiver(store.engine, clock, sender, hears_own))
    return Receivers(receivers)


def _backends(
    settings: JobSettings, registry: JobExecutorRegistry
) -> dict[str | None, AbstractJobExecutor]:
    named = {name: registry.get(name) for name in registry.get_registered_names()}
    # Rows that stock MLflow wrote name no backend.
    return {None: registry.get(settings.default_backend), **named}


def _surroundings(
    settings: JobSettings, remote_backends: frozenset[str | None], tracking_uri: str
) -> Surroundings:
    return Surroundings(
        tracking_uri=tracking_uri,
        gateway_uri=MLFLOW_GATEWAY_URI.get(),
        workspaces_enabled=MLFLOW_ENABLE_WORKSPACES.get(),
        default_timeout=settings.default_timeout,
        retry_policy=RetryPolicy(
            settings.max_retries, settings.retry_base_delay, settings.retry_max_delay
        ),
        remote_backends=remote_backends,
        remote_tracking_uri=settings.remote_tracking_uri,
        remote_gateway_uri=settings.remote_gateway_uri or settings.remote_tracking_uri,
    )


def _max_workers() -> dict[str, int]:
    load_job_functions()
    return {name: _metadata_of(name).max_workers for name in _job_name_to_fn_fullname_map}


def _metadata_of(job_name: str) -> JobFunctionMetadata:
    return get_job_function(job_name)._job_fn_metadata


def _keeping(
    settings: JobSettings,
    store: AbstractJobStore,
    owned: OwnedJobs,
    cancellation: Cancellation,
    clock: Clock,
    expect_sign_by: Callable[[float], None] | None,
) -> list[Loop]:
    ttl = settings.job_lease_ttl
    renewals = Renewals(store, owned, clock, ttl, cancellation.settle)
    beat_seconds = min(ttl / 12, _LONGEST_FENCING_BEAT_SECONDS)
    fencing = SelfFencing(
        owned,
        clock,
        beat_seconds,
        watchdog_grace(ttl),
        expect_sign_by,
        wake=lambda: looking.wake(),
    )
    looking = Loop("self-fencing", fencing.beat, clock)
    return [
        Loop("renewals", renewals.beat, clock, longest_failure_pause_seconds=ttl / 10),
        looking,
    ]


def _leading(
    settings: JobSettings,
    store: AbstractJobStore,
    backends: Mapping[str | None, AbstractJobExecutor],
    clock: Clock,
    replica_id: str,
    lease: SchedulerLease,
    lifecycle: Lifecycle,
    discovery: LazyDiscovery,
    discovering: Loop,
    on_work: Callable[[], None],
    pace: Pace,
) -> dict[str, object]:
    if not settings.scheduler_enabled:
        return {"leading": [], "scheduler": None}

    def resume(candidate: RecoveryCandidate, claim: Claim, trust_until: float) -> None:
        job = _reattached(store, candidate, claim)
        if lifecycle.start([job], trust_until, submit=False):
            raise RuntimeError("No thread can be started")

    recovery = Recovery(
        store,
        backends,
        clock,
        replica_id,
        settings.job_lease_ttl,
        settings.max_retries,
        resume,
    )

    unserved = UnservedBackends(store, backends.keys(), clock)

    def recover() -> float | None:
        if (term := lease.term) is None:
            return None
        if recovery.run(term):
            on_work()
        unserved.report()
        return recovery.again_seconds

    # Apart from the scheduler, since a backend may take its time to answer.
    recovering = Loop("recovery", recover, clock)
    tasks = PeriodicTasks(
        store, clock, server_tasks(store, settings.completed_job_ttl, discovery.run)
    )
    scheduler = Scheduler(
        lease,
        Sweep(store),
        tasks,
        clock,
        settings.scheduler_lease_ttl,
        settings.job_lease_ttl,
        sweep_seconds(settings.job_lease_ttl),
        on_recovery=recovering.wake,
        hears_all=lambda: pace.hears_all,
    )
    leading = Loop(
        "scheduler",
        scheduler.beat,
        clock,
        longest_failure_pause_seconds=settings.scheduler_lease_ttl / 3,
    )
    return {"leading": [leading, recovering, discovering], "scheduler": scheduler}


def _reattached(store: AbstractJobStore, candidate: RecoveryCandidate, claim: Claim) -> ClaimedJob:
    job = store.get_job(claim.job_id)
    return ClaimedJob(
        claim=claim,
        job_name=job.job_name,
        params=json.loads(job.params),
        timeout=job.timeout,
        workspace=job.workspace,
        backend=candidate.backend,
        creator=job.creator,
        retry_count=job.retry_count,
        recovery_count=candidate.recovery_count,
        sealed_environment=None,
        lock_key=None,
        is_suspect=candidate.is_suspect,
    )
