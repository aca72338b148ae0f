"""How long a job waits: from the server's start, and from its POST to its first line."""

import statistics
import time

from dev.serving import Server

JOB = "bench_first_line"


def seconds_to_first_success(server: Server) -> tuple[float, float]:
    """Starts the server and runs one job.

    Returns:
        Seconds until the server answered, and until the job had succeeded.
    """
    started = time.monotonic()
    server.start()
    server.wait_until_ready()
    answered = time.monotonic() - started
    _run_one(server)
    return answered, time.monotonic() - started


def median_first_line_seconds(server: Server, jobs: int) -> float:
    """Returns the median time from POST to the job function's first line, one job at a time."""
    return statistics.median(_run_one(server) for _ in range(jobs))


def _run_one(server: Server) -> float:
    job = server.wait_for_job(server.submit_job(JOB, {"sent_at": time.time()}))
    if job["status"] != "SUCCEEDED":
        raise RuntimeError(f"The benchmark's job is {job['status']}: {job['error_message']}")
    return job["result"]
