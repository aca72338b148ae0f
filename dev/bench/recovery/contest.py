"""Group 4: from the SIGKILL of a replica until its job is at work again on another one.

The replica that is killed leads, so that the other one has to lead before it can recover, or it
does not. Where the time goes is read from the history that the database writes.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy

from dev.bench.databases import Databases
from dev.bench.figures import Measured
from dev.bench.rounds import alternate
from dev.bench.sizes import RecoverySizes
from dev.chaos import effects, history
from dev.chaos.effects import EffectLog
from dev.chaos.recoveries import RUNNING, Recovery, recoveries
from dev.chaos.replica import Replica
from mlflow.server.jobs.settings import MIN_JOB_LEASE_TTL, JobSettings
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore

_PATIENCE_SECONDS = 120.0
_LOOK_SECONDS = 0.02
_NEVER = 1_000_000
# As many as one replica runs of the job that is used here.
_AT_ONCE = 2
_NEVER_SET_ASIDE = {"MLFLOW_SERVER_JOB_TRANSIENT_ERROR_MAX_RETRIES": "1000"}
_NO_LEADER = {"MLFLOW_DISABLE_SCHEDULER": "true"}


def contest(
    databases: Databases,
    kind: str,
    sizes: RecoverySizes,
    rounds: int,
    only: list[str] | None = None,
) -> Measured:
    """Measure the leases in turn, of leaders and of others."""
    leases = {"smallest lease": MIN_JOB_LEASE_TTL}
    if sizes.default_lease:
        leases["default lease"] = JobSettings().job_lease_ttl
    contenders = {
        f"{name}, {'leader' if leads else 'follower'} killed": (lease, leads)
        for name, lease in leases.items()
        for leads in (True, False)
    }
    return alternate(
        {
            name: lambda case=case: measure(databases, kind, *case)
            for name, case in contenders.items()
            if only is None or name in only
        },
        rounds,
    )


def measure(databases: Databases, kind: str, lease: float, leads: bool) -> dict[str, float]:
    """One kill.

    Raises:
        RuntimeError: The machine is so busy that another one led than the one that was to.
    """
    found = recovered(databases, kind, lease, leads)
    if found.led is not leads:
        raise RuntimeError("Another one led than the one that was to.")
    return {
        "lease, s": lease,
        "kill to mark (T9), s": found.marked_ms / 1000,
        "kill to free (T12), s": found.free_ms / 1000,
        "kill to claim (T2), s": found.claimed_ms / 1000,
        "kill to work, s": found.at_work_ms / 1000,
        "that beyond the lease, s": found.at_work_ms / 1000 - lease,
    }


def recovered(databases: Databases, kind: str, lease: float, leads: bool) -> Recovery:
    """The job that was the last to be at work again after the kill of its replica."""
    with tempfile.TemporaryDirectory(prefix="mlflow-bench-") as name, databases.empty(kind) as uri:
        engine = SqlAlchemyJobStore(uri).engine
        try:
            history.install(engine)
            return _recovered(engine, uri, Path(name), lease, leads)
        finally:
            engine.dispose()


def _recovered(
    engine: sqlalchemy.Engine, uri: str, folder: Path, lease: float, leads: bool
) -> Recovery:
    told = folder / "effects"
    told.mkdir()
    log = EffectLog(told)
    log.calibrate()
    settings = {"MLFLOW_SERVER_JOB_LEASE_TTL": str(lease), **_NEVER_SET_ASIDE}
    victim = Replica("victim", uri, folder, settings | ({} if leads else _NO_LEADER))
    survivor = Replica("survivor", uri, folder, settings)
    try:
        # The victim has room for no more than these, so that the next one warms the survivor up.
        jobs = [_submit(uri, told, _NEVER) for _ in range(_AT_ONCE)]
        victim.start()
        _wait_until(lambda: all(_fences(told, "started", each) for each in jobs))
        short = _submit(uri, told, 1)
        survivor.start()
        _wait_until(lambda: survivor.is_ready and _fences(told, "ended", short))
        _wait_until(lambda: _owned(engine, victim.runner_pid))
        lost = _owned(engine, victim.runner_pid)
        log.write(
            "fault", kind="kill-replica", pids=[victim.runner_pid], ms=time.time_ns() // 1_000_000
        )
        victim.kill()
        _wait_until(
            lambda: all(
                any(each > fence for each in _fences(told, "started", job))
                for job, fence in lost.items()
            )
        )
    finally:
        victim.kill()
        survivor.kill()
    changes, leaders = history.read(engine)
    by_job = {job_id: [each for each in changes if each.job == job_id] for job_id in lost}
    return max(
        recoveries(by_job, leaders, effects.by_job(effects.read(told))),
        key=lambda each: each.at_work_ms,
    )


def _owned(engine: sqlalchemy.Engine, runner_pid: int) -> dict[str, int]:
    """The jobs that a runner owns, and their fences."""
    changes, _ = history.read(engine)
    latest = {each.job: each for each in changes}
    return {
        job: each.fence
        for job, each in latest.items()
        if each.status == RUNNING and each.runner == runner_pid
    }


def _fences(told: Path, what: str, job_id: str) -> list[int]:
    log = effects.read(told)
    return [each["fence"] for each in log if each["what"] == what and each["job"] == job_id]


def _submit(uri: str, told: Path, ticks: int) -> str:
    store = SqlAlchemyJobStore(uri)
    params = json.dumps({"folder": str(told), "ticks": ticks})
    try:
        return store.create_job("chaos_plain", params, executor_backend="local").job_id
    finally:
        store.engine.dispose()


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("What was waited for did not come.")
        time.sleep(_LOOK_SECONDS)
