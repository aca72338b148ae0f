"""How long jobs take on a server: from its start, from their POST, and many at once."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from dev.serving import Server

JOB = "bench_first_line"
_UNFINISHED = ("PENDING", "RUNNING", "NEEDS_RECOVERY")
_LOOK_SECONDS = 0.002
_SLOW_LOOK_SECONDS = 0.1
_PATIENCE_SECONDS = 600.0
_CLIENTS = 4


@dataclass(frozen=True)
class Latency:
    """Seconds from a job's POST to its first line, and to its success being shown."""

    first_line: float
    success: float


def seconds_to_first_success(server: Server) -> tuple[float, float]:
    """Starts the server and runs one job.

    Returns:
        Seconds until the server answered, and until the job had succeeded.
    """
    started = time.monotonic()
    server.start()
    server.wait_until_ready()
    answered = time.monotonic() - started
    run_one(server)
    return answered, time.monotonic() - started


def run_one(server: Server) -> Latency:
    """Runs one job on a server that is idle otherwise."""
    began = time.monotonic()
    job_id = server.submit_job(JOB, {"sent_at": time.time()})
    job = _wait_for(server, job_id)
    return Latency(job["result"], time.monotonic() - began)


def jobs_per_second(server: Server, job_name: str, count: int) -> float:
    """Submits so many jobs from a few clients; from the first POST until all have succeeded."""
    began = time.monotonic()
    with ThreadPoolExecutor(_CLIENTS) as clients:
        job_ids = [*clients.map(lambda _: server.submit_job(job_name, {}), range(count))]
    # Oldest first, so that hardly any is asked for twice.
    for job_id in job_ids:
        _wait_for(server, job_id, _SLOW_LOOK_SECONDS / 10)
    return count / (time.monotonic() - began)


def _wait_for(server: Server, job_id: str, look_seconds: float = _LOOK_SECONDS) -> dict[str, Any]:
    began = time.monotonic()
    while True:
        _, job = server.request("GET", f"/ajax-api/3.0/jobs/{job_id}")
        if job["status"] == "SUCCEEDED":
            return job
        waited = time.monotonic() - began
        if job["status"] not in _UNFINISHED or waited > _PATIENCE_SECONDS:
            error = job.get("error_message") or job.get("result")
            raise RuntimeError(f"The benchmark's job is {job['status']}: {error}")
        server.require_alive()
        # Looking often costs the CPU that slow jobs need.
        time.sleep(look_seconds if waited < 1 else _SLOW_LOOK_SECONDS)
