"""Exclusivity locks: how their keys are made, and how others take one. The store keeps I4 and I1.

A job's own lock needs nobody to ask for it: it is taken in the transaction of the claim (T2, T3)
and given back in that of the result (T5 to T8). `JobLockManager` is for code outside of that, a
plugin or a caller of MLflow 3.18's interface, which protects one more key while its job runs.

A lock belongs to a claim, not to a job. Whoever has been handed a fence names it: a claim that is
lost then takes nothing, and gives nothing back that has passed on. Whoever knows a job id alone, as
in 3.18, acts under the claim that the job is under at that moment, and vouches for owning it.
Taking over a lock whose holder has overrun its timeout ends that holder.
"""

import hashlib
import json
import math
from collections.abc import Callable
from typing import Any

from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.server.jobs.scheduler_lease import new_replica_id
from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.errors import InvalidJobField
from mlflow.store.jobs.values import Claim, JobLock, Term
from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME

_DIGEST_CHARACTERS = 16


def lock_key(
    job_name: str,
    params: dict[str, Any],
    exclusive: bool | list[str],
    workspace: str | None,
) -> str | None:
    """The key that jobs excluding each other share; the same string that 3.18 computes.

    Args:
        job_name: Name of the job.
        params: The job's parameters.
        exclusive: As declared by `@job`: all parameters count, or only those named, or none.
        workspace: The job's workspace; part of the key only while workspaces are enabled.

    Returns:
        The key, or None for a job that is not exclusive.
    """
    if not exclusive:
        return None
    chosen = params
    if exclusive is not True:
        chosen = {name: value for name, value in params.items() if name in exclusive}
    digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()
    scope = f"{workspace or DEFAULT_WORKSPACE_NAME}:" if MLFLOW_ENABLE_WORKSPACES.get() else ""
    return f"{scope}{job_name}:{digest[:_DIGEST_CHARACTERS]}"


class LockKeys:
    """Computes the lock key of rows that were stored without one, from their job's metadata."""

    def __init__(self, exclusive_of: Callable[[str], bool | list[str]]) -> None:
        """
        Args:
            exclusive_of: Answers what a job of this name declares as `exclusive`.
        """
        self._exclusive_of = exclusive_of

    def __call__(self, job_name: str, params: dict[str, Any], workspace: str) -> str | None:
        return lock_key(job_name, params, self._exclusive_of(job_name), workspace)


class JobLockManager:
    """Exclusivity locks, and leases by 3.18's names, on one job store."""

    def __init__(self, job_store: AbstractJobStore) -> None:
        """
        Args:
            job_store: The SQL job store; a job without a timeout counts as one of an hour.
        """
        self._store = job_store
        self._holder = new_replica_id()

    def acquire(self, lock_key: str, claim: Claim) -> JobLock | None:
        """Take a lock for a running job, or find that its claim has it already.

        Returns:
            The lock, or None when a live job holds it or the claim is lost.
        """
        return self._store.acquire_lock(lock_key, claim)

    def release(self, lock: JobLock) -> bool:
        """Give a lock back; False when it was not held any more. The end of the job does so too."""
        return self._store.release_lock(lock)

    def acquire_exclusive_lock(self, lock_key: str, job_id: str) -> JobLock | None:
        """`acquire` for the claim that the job is under now.

        Raises:
            JobNotFound: There is no such job.
            InvalidJobTransition: It is not running, so that its lock would protect nothing.
        """
        return self.acquire(lock_key, self._store.current_claim(job_id))

    def release_exclusive_lock(self, job_lock: JobLock) -> None:
        """`release`, whatever it answers."""
        self.release(job_lock)

    def acquire_scheduler_lease(self, lease_key: str, ttl_seconds: float) -> Term | None:
        """Begin a term of the lease, held by this object; None while one is under way.

        Who leads for longer than one call wants `SchedulerLease` instead: a term may be trusted
        only until its holder's own deadline.
        """
        return self._store.acquire_scheduler_lease(lease_key, self._holder, _positive(ttl_seconds))

    def renew_scheduler_lease(self, lease: Term, ttl_seconds: float) -> Term | None:
        """The same term for another `ttl_seconds`, or None when it has ended."""
        return lease if self._store.renew_scheduler_lease(lease, _positive(ttl_seconds)) else None


def _positive(ttl_seconds: float) -> float:
    if not 0 < ttl_seconds < math.inf:
        raise InvalidJobField("ttl_seconds", "has to be a positive number of seconds")
    return ttl_seconds
