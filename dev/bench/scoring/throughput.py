"""How fast a server scores the waiting traces of one experiment."""

import json
import os
import tempfile
import time
from pathlib import Path

from dev.bench.databases import Databases
from dev.bench.rounds import progress
from dev.bench.scoring.rows import Rows, Times, rows_of
from dev.bench.scoring.scorers import answered
from dev.bench.servers import idle
from dev.bench.servers.replica import Replica
from dev.serving import Server

_LOOK_SECONDS = 0.1
_PATIENCE_SECONDS = 300.0
_WITHIN_THE_HOUR_MS = 40 * 60_000
_PAST_THE_BUFFER_MS = 10 * 60_000


def measure(
    databases: Databases, kind: str, replica: Replica, traces: int, batch: int
) -> dict[str, float]:
    """Start a server on a database with traces that wait, and watch it until all are assessed.

    Args:
        databases: Where an empty one is made.
        kind: Its kind.
        replica: What is served.
        traces: How many wait.
        batch: So many are scored before the rate is measured: it is that of the rest.
    """
    with tempfile.TemporaryDirectory(prefix="mlflow-bench-") as name, databases.empty(kind) as uri:
        server = replica.server(uri, Path(name) / "replica", 1, **_environment(replica))
        with rows_of(uri) as rows:
            now_ms = int(time.time() * 1000)
            begin_ms = now_ms - _PAST_THE_BUFFER_MS - _WITHIN_THE_HOUR_MS
            rows.add_experiments(1, json.dumps(answered.model_dump()), answered.name)
            rows.add_traces(
                "tr-", traces, 1, Times(begin_ms, _WITHIN_THE_HOUR_MS / traces), with_spans=True
            )
            rows.tell_planner()
            try:
                began = time.monotonic()
                server.start()
                server.wait_until_ready()
                _wait_for(1, rows, server)
                first = time.monotonic() - began
                reached = _wait_for(batch, rows, server)
                cpu, since = idle.cpu_seconds(server), time.monotonic()
                assessed = _wait_for(traces, rows, server)
                seconds = time.monotonic() - since
                cpu = idle.cpu_seconds(server) - cpu
            finally:
                server.stop()
            if assessed > traces:
                raise RuntimeError(f"{assessed} assessments of {traces} traces")
            if reached == traces:
                raise RuntimeError("All were assessed between two looks: let more traces wait")
    return {
        "start to first assessment, s": first,
        "traces/min": 60 * (traces - reached) / seconds,
        "CPU s/1,000 traces": 1000 * cpu / (traces - reached),
    }


def _wait_for(count: int, rows: Rows, server: Server) -> int:
    seen, deadline = 0, time.monotonic() + _PATIENCE_SECONDS
    while True:
        found = rows.count("assessments")
        if found >= count:
            return found
        if found > seen:
            seen, deadline = found, time.monotonic() + _PATIENCE_SECONDS
            progress(f"    {found:,} of {count:,} assessed")
        if time.monotonic() > deadline:
            raise TimeoutError(f"Only {found} of {count} traces are assessed.\n{server.tail()}")
        server.require_alive()
        time.sleep(_LOOK_SECONDS)


def _environment(replica: Replica) -> dict[str, str]:
    env = {"MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS": "true"}
    if replica.engine is None:
        return env
    lifted = str(Path(__file__).parent / "lifted")
    path = os.pathsep.join([lifted, replica.environment()["PYTHONPATH"]])
    # The name that stock gives to processes which may load such scorers.
    return env | {"PYTHONPATH": path, "_MLFLOW_IN_JOB_EXECUTOR": "true"}
