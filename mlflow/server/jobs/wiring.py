"""The only place where the parts of a runner are built and joined."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES, MLFLOW_GATEWAY_URI
from mlflow.genai.scorers.job import ONLINE_SESSION_SCORER_JOB_NAME, ONLINE_TRACE_SCORER_JOB_NAME
from mlflow.server.handlers import _get_tracking_store
from mlflow.server.jobs.cancellation import Cancellation
from mlflow.server.jobs.claimer import Claimer
from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.discovery.online_scoring import OnlineScoringDiscovery
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
from mlflow.server.jobs.pace import Pace
from mlflow.server.jobs.periodic import PeriodicTasks
from mlflow.server.jobs.recovery import Recovery
from mlflow.server.jobs.remote.online_grants import OnlineGrants
from mlflow.server.jobs.renewals import Renewals
from mlflow.server.jobs.router import JobRouter
from mlflow.server.jobs.scheduler import Scheduler
from mlflow.server.jobs.scheduler_lease import SchedulerLease
from mlflow.server.jobs.self_fencing import SelfFencing
from mlflow.server.jobs.server_tasks import server_tasks
from mlflow.server.jobs.settings import JobSettings
from mlflow.server.jobs.sweep import Sweep
from mlflow.server.jobs.trust import watchdog_grace
from mlflow.server.jobs.unserved_backends import UnservedBackends
from mlflow.server.jobs.wakeups import postgresql
from mlflow.server.jobs.wakeups.announce import Announcer
from mlflow.server.jobs.wakeups.base import EVERYTHING, Hint, Receivers
from mlflow.server.jobs.wakeups.local_socket import local_receiver
from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.jobs.values import Claim, ClaimedJob, RecoveryCandidate, Term

_LONGEST_SWEEP_SECONDS = 1.0
_LONGEST_FENCING_BEAT_SECONDS = 1.0
_SCORING_JOBS = frozenset({ONLINE_TRACE_SCORER_JOB_NAME, ONLINE_SESSION_SCORER_JOB_NAME})


@dataclass(frozen=True)
class Parts:
    """What the runner process starts and stops.

    Attributes:
        store: The job store.
        owned: The jobs under way.
        claimer: What is told to drain.
        executors: To be started first and stopped last.
        claiming: The loop that takes work.
        canceling: The loop that looks for cancellations.
        supervising: The loops, that one included, which end only after the last job.
        leading: The loops of the leadership, the scheduler's first; empty where it is disabled.
        discovering: The loop of next batches.
        scheduler: What resigns; None where it is disabled.
        wakeups: The receivers of hints.
        announcer: What tells the other replicas.
    """

    store: AbstractJobStore
    owned: OwnedJobs
    claimer: Claimer
    executors: list[AbstractJobExecutor]
    claiming: Loop
    canceling: Loop
    supervising: list[Loop]
    leading: list[Loop]
    discovering: Loop
    scheduler: Scheduler | None
    wakeups: Receivers
    announcer: Announcer

    def wake(self, hint: Hint = EVERYTHING, is_own: bool = True) -> None:
        """Look soon at what the hint says.

        Args:
            hint: What may be worth a look.
            is_own: False where all replicas have been told the same.
        """
        if Hint.WORK in hint:
            if is_own:
                self.claiming.wake()
            else:
                self.claiming.wake_among_others()
        if Hint.CANCEL in hint:
            self.canceling.wake()
        if Hint.LEADER in hint and self.scheduler is not None:
            self.scheduler.look()
            self.leading[0].wake_among_others()
            self.discovering.wake_among_others()

    def farewell(self) -> None:
        """Tell the others that there may be a leader to elect, and jobs to recover."""
        self.announcer.to_others_now(Hint.LEADER)


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

    surroundings = Surroundings(
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
    lease = SchedulerLease(store, clock, replica_id, settings.scheduler_lease_ttl)
    discovery = _LazyDiscovery(
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
        claiming.wake()

    lifecycle = Lifecycle(
        store,
        owned,
        backends,
        clock,
        surroundings,
        _metadata_of,
        job_ended,
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
    )
    claiming = Loop("claims", claimer.beat, clock)
    cancellation = Cancellation(store, owned, pace)
    canceling = Loop("cancellations", cancellation.beat, clock)
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
    fencing = SelfFencing(owned, clock, beat_seconds, watchdog_grace(ttl), expect_sign_by)
    return [
        Loop("renewals", renewals.beat, clock, longest_failure_pause_seconds=ttl / 10),
        Loop("self-fencing", fencing.beat, clock),
    ]


def _leading(
    settings: JobSettings,
    store: AbstractJobStore,
    backends: Mapping[str | None, AbstractJobExecutor],
    clock: Clock,
    replica_id: str,
    lease: SchedulerLease,
    lifecycle: Lifecycle,
    discovery: "_LazyDiscovery",
    discovering: Loop,
    on_work: Callable[[], None],
    pace: Pace,
) -> dict[str, object]:
    if not settings.scheduler_enabled:
        return {"leading": [], "scheduler": None}

    def resume(candidate: RecoveryCandidate, claim: Claim, trust_until: float) -> None:
        lifecycle.start(_reattached(store, candidate, claim), trust_until, submit=False)

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

    def recover() -> None:
        if term := lease.term:
            if recovery.run(term):
                on_work()
            unserved.report()

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
        min(settings.job_lease_ttl / 4, _LONGEST_SWEEP_SECONDS),
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
    )


class _LazyDiscovery:
    """Online scoring discovery, built when the first pass is due and tried again if that fails.

    `on_created` is told of each job, and `on_pass` is called after a pass that created any.
    """

    def __init__(
        self,
        store: AbstractJobStore,
        settings: JobSettings,
        registry: JobExecutorRegistry,
        on_created: Callable[[str, str | None, dict[str, Any]], None],
        on_pass: Callable[[], None],
    ) -> None:
        self._store = store
        self._settings = settings
        self._registry = registry
        self._on_created = on_created
        self._on_pass = on_pass
        self._has_created = False
        self._lock = threading.Lock()
        self._discovery: OnlineScoringDiscovery | None = None

    def run(self, term: Term) -> None:
        with self._telling():
            self._built().run(term)

    def run_experiment(self, term: Term, workspace: str | None, experiment_id: str) -> None:
        with self._telling():
            self._built().run_experiment(term, workspace, experiment_id)

    def _created(self, job_id: str, workspace: str | None, params: dict[str, Any]) -> None:
        self._has_created = True
        self._on_created(job_id, workspace, params)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        finally:
            if self._has_created:
                self._has_created = False
                self._on_pass()

    def _built(self) -> OnlineScoringDiscovery:
        with self._lock:
            if self._discovery is None:
                router = JobRouter(self._settings, self._registry)
                self._discovery = OnlineScoringDiscovery(
                    _get_tracking_store(),
                    self._store,
                    self._settings,
                    router,
                    OnlineGrants(router, self._registry),
                    on_created=self._created,
                )
            return self._discovery
