"""This framework's queue core: the real runner, with an executor that runs nothing."""

import json
import logging
import os
import threading
import time

from dev.bench.core.contender import Contender, OnJob

# Read by modules as they are imported below.
os.environ.setdefault("_MLFLOW_SUPPORTED_JOB_FUNCTION_LIST", "dev.bench.core.noop_jobs.noop")
os.environ.setdefault("_MLFLOW_SERVER_BOOT_ID", os.environ.get("BENCH_BOOT_ID", ""))

from sqlalchemy import func, select

from dev.bench.core.noop_jobs import NAME, noop
from mlflow.entities._job_status import JobStatus
from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR
from mlflow.server.jobs import runner, wiring
from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.executor import (
    AbstractJobExecutor,
    JobExecutorConfig,
    JobResult,
)
from mlflow.server.jobs.executor_registry import JobExecutorRegistry
from mlflow.server.jobs.scheduler_lease import new_replica_id
from mlflow.server.jobs.settings import JobSettings
from mlflow.server.jobs.stop_requests import StopRequest, StopRequests
from mlflow.server.jobs.wakeups.announce import announce
from mlflow.server.jobs.wakeups.base import Hint
from mlflow.server.jobs.watchdog import Watchdog
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.jobs.statements import in_states
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.transitions import UNFINISHED
from mlflow.store.jobs.values import NewJob

_BACKEND = "local"


class NoopExecutor(AbstractJobExecutor):
    """Every job begins and has succeeded."""

    def __init__(self, on_job: OnJob) -> None:
        super().__init__(JobExecutorConfig())
        self._on_job = on_job

    def submit_job(
        self, job_id, job_name, fn_fullname, params, context, python_env=None, timeout=None
    ) -> None:
        self._on_job(params["sent_at"])

    def wait_for_job(self, job_id: str) -> JobResult:
        return JobResult(JobStatus.SUCCEEDED, result="null")

    def cancel_job(self, job_id: str) -> None:
        pass

    def recover_jobs(self, unfinished_job_ids):
        return []


class Ours(Contender):
    def __init__(self, uri: str, concurrency: int) -> None:
        super().__init__(uri, concurrency)
        # Two lines for each job; the peers write none at their default level.
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.disable(logging.INFO)
        self._store = SqlAlchemyJobStore(uri)
        self._parts = None

    def prepare(self) -> None:
        """Done by opening the store."""

    def enqueue(self, sent_at: float) -> None:
        params = json.dumps({"sent_at": sent_at})
        self._store.create_job(
            NAME,
            params,
            executor_backend=_BACKEND,
            on_committed=lambda: announce(self._store, Hint.WORK),
        )

    def enqueue_bulk(self, count: int) -> bool:
        params = json.dumps({"sent_at": time.time()})
        self._store.create_jobs([NewJob(NAME, params, executor_backend=_BACKEND)] * count)
        announce(self._store, Hint.WORK)
        return True

    def start(self, on_job: OnJob) -> None:
        noop._job_fn_metadata.max_workers = self.concurrency
        registry = JobExecutorRegistry()
        registry.register(_BACKEND, NoopExecutor(on_job))
        # A server's periodic tasks look into its tracking store; leading, sweeping and recovering
        # are what the peers' maintenance is compared with.
        wiring.server_tasks = lambda *_, **__: []
        runner.get_executor_registry = lambda: registry
        os.environ[BACKEND_STORE_URI_ENV_VAR] = self.uri
        replica_id = new_replica_id()
        self._watchdog = Watchdog()
        self._parts = runner._prepare(JobSettings.from_env(), replica_id, Clock(), self._watchdog)
        runner._start(self._parts, replica_id)

    def unfinished(self) -> int:
        with self._store.engine.connect() as connection:
            return connection.scalar(
                select(func.count()).select_from(jobs).where(in_states(UNFINISHED))
            )

    def stop(self) -> None:
        if self._parts is not None:
            runner.drain(self._parts, StopRequests(), Clock(), 5.0, StopRequest.TERMINATE)
            runner.stop(self._parts)
            self._watchdog.stop()


def contender(uri: str, concurrency: int) -> Ours:
    threading.current_thread().name = "bench"
    return Ours(uri, concurrency)
