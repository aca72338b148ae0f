"""Group 1: whole servers, this fork beside stock 3.18.0 on both of its engines."""

import statistics
import tempfile
import time
from pathlib import Path

from dev.bench.databases import Databases
from dev.bench.figures import Measured, percentile
from dev.bench.rounds import alternate, progress
from dev.bench.servers import idle, latency
from dev.bench.servers.replica import REPLICAS, Replica
from dev.bench.sizes import ServersSizes
from dev.serving import Server


def contest(
    databases: Databases, kind: str, sizes: ServersSizes, rounds: int, only: list[str] | None = None
) -> Measured:
    """Measure each kind of server on this kind of database, in turn."""
    return alternate(
        {
            name: lambda replica=replica: measure(databases, kind, sizes, replica)
            for name, replica in REPLICAS.items()
            if only is None or name in only
        },
        rounds,
    )


def measure(
    databases: Databases, kind: str, sizes: ServersSizes, replica: Replica
) -> dict[str, float | None]:
    """One round of one server on an empty database."""
    with tempfile.TemporaryDirectory(prefix="mlflow-bench-") as name, databases.empty(kind) as uri:
        folder = Path(name)
        working = {}
        if replica.jobs_enabled:
            working = _working(
                replica.server(uri, folder / "working", sizes.workers), sizes, replica
            )
        return working | _idle(databases, kind, sizes, replica, uri, folder / "idle")


def _working(server: Server, sizes: ServersSizes, replica: Replica) -> dict[str, float]:
    try:
        return {
            **_start(server),
            **_latencies(server, sizes.latencies[replica.is_slow]),
            **_throughput(server, sizes.throughput[replica.is_slow]),
            **_held(server, sizes),
        }
    finally:
        server.stop()


def _start(server: Server) -> dict[str, float]:
    answered, succeeded = latency.seconds_to_first_success(server)
    return {
        "start to answer, s": answered,
        "answer to first job's success, s": succeeded - answered,
    }


def _latencies(server: Server, count: int) -> dict[str, float]:
    runs = [latency.run_one(server) for _ in range(count)]
    first, success = [each.first_line for each in runs], [each.success for each in runs]
    return {
        "POST to first line p50, s": statistics.median(first),
        "POST to first line p99, s": percentile(first, 99),
        "POST to success p50, s": statistics.median(success),
        "POST to success p99, s": percentile(success, 99),
    }


def _throughput(server: Server, count: int) -> dict[str, float]:
    figures = {}
    for slots, job_name in ((2, "bench_two"), (8, "bench_eight")):
        cpu = idle.cpu_seconds(server)
        figures[f"no-op jobs/s, {slots} at once"] = latency.jobs_per_second(server, job_name, count)
        figures[f"CPU s/job, {slots} at once"] = (idle.cpu_seconds(server) - cpu) / count
    return figures


def _idle(
    databases: Databases, kind: str, sizes: ServersSizes, replica: Replica, uri: str, folder: Path
) -> dict[str, float | None]:
    # As it comes: stock has a process for each job function, and the benchmark's are not MLflow's.
    with replica.server(uri, folder, sizes.workers, has_bench_jobs=False) as server:
        time.sleep(sizes.settle_seconds)
        cpu, began = idle.cpu_seconds(server), time.monotonic()
        counted = None
        if kind == "sqlite":
            time.sleep(sizes.idle_seconds)
        else:
            with databases.logging():
                counted = idle.statements_during(databases.statements, sizes.idle_seconds)
            for text, times in counted.most_common(5):
                progress(f"    idle: {times} x {text[:90]}")
        minutes = (time.monotonic() - began) / 60
        return {
            "idle processes": float(len(server.processes())),
            "idle memory, PSS MiB": idle.memory_mib(server),
            "idle CPU, s/min": (idle.cpu_seconds(server) - cpu) / minutes,
            "idle statements/s": None if counted is None else counted.total() / sizes.idle_seconds,
        }


def _held(server: Server, sizes: ServersSizes) -> dict[str, float]:
    # Processes of the jobs before may still be ending.
    time.sleep(sizes.settle_seconds)
    count, directory = sizes.held, server.directory
    before = idle.memory_mib(server)
    until = directory / "until"
    begun = [directory / f"begun-{number}" for number in range(count)]
    job_ids = [
        server.submit_job("bench_hold", {"begun": str(each), "until": str(until)}) for each in begun
    ]
    deadline = time.monotonic() + 120
    while not all(each.exists() for each in begun):
        if time.monotonic() > deadline:
            raise RuntimeError("The jobs whose memory is measured did not begin.")
        time.sleep(0.1)
    time.sleep(1)
    held = idle.memory_mib(server) - before
    until.touch()
    for job_id in job_ids:
        server.wait_for_job(job_id)
    return {"memory per running job, PSS MiB": held / count}
