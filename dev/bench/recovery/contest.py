"""Group 4: from the SIGKILL of a whole server until its job runs again on the other one.

The server that is killed leads as well, which is the worst case: the other has to lead before it
can sweep and recover.
"""

import tempfile
import time
from pathlib import Path

from dev.bench.databases import Databases
from dev.bench.figures import Measured
from dev.bench.rounds import alternate
from dev.bench.servers.replica import Replica
from mlflow.server.jobs.settings import MIN_JOB_LEASE_TTL

_PATIENCE_SECONDS = 300.0
_JOIN_SECONDS = 3.0
_SMALLEST_SCHEDULER_LEASE = "1"
_LEASES = {
    "default leases": {},
    "smallest leases": {
        "MLFLOW_SERVER_JOB_LEASE_TTL": str(MIN_JOB_LEASE_TTL),
        "MLFLOW_SERVER_SCHEDULER_LEASE_TTL": _SMALLEST_SCHEDULER_LEASE,
    },
}


def contest(
    databases: Databases, kind: str, rounds: int, only: list[str] | None = None
) -> Measured:
    """Measure the leases in turn."""
    return alternate(
        {
            name: lambda env=env: measure(databases, kind, env)
            for name, env in _LEASES.items()
            if only is None or name in only
        },
        rounds,
    )


def measure(databases: Databases, kind: str, env: dict[str, str]) -> dict[str, float]:
    """One kill."""
    with tempfile.TemporaryDirectory(prefix="mlflow-bench-") as name, databases.empty(kind) as uri:
        begun, until = Path(name) / "begun", Path(name) / "until"
        first = Replica().server(uri, Path(name) / "first", 1, **env)
        second = Replica().server(uri, Path(name) / "second", 1, **env)
        try:
            with first:
                job_id = first.submit_job("bench_hold", {"begun": str(begun), "until": str(until)})
                _wait_for(begun)
                with second:
                    time.sleep(_JOIN_SECONDS)
                    begun.unlink()
                    killed = time.monotonic()
                    first.kill()
                    _wait_for(begun)
                    again = time.monotonic() - killed
                    until.touch()
                    job = second.wait_for_job(job_id)
        finally:
            until.touch()
        if job["status"] != "SUCCEEDED":
            raise RuntimeError(f"The recovered job is {job['status']}: {job['error_message']}")
        return {"SIGKILL to the job's second start, s": again}


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path.name} was not made.")
        time.sleep(0.01)
