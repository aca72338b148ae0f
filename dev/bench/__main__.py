"""Measure one idle replica and the latency of its jobs, for the fork or for stock 3.18.0."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from dev.bench import idle, latency
from dev.serving import Server, clean_environment
from dev.testing.databases import start_postgres
from dev.testing.releases import release_env

_JOB_ENV = {
    "_MLFLOW_SUPPORTED_JOB_FUNCTION_LIST": "bench_jobs.first_line",
    "_MLFLOW_ALLOWED_JOB_NAME_LIST": latency.JOB,
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def main() -> int:
    """Prints a table and, on request, writes JSON."""
    options = _options()
    figures = measure(options.stock, options.workers, options.seconds, options.jobs)
    width = max(map(len, figures))
    for name, value in figures.items():
        if not isinstance(value, dict):
            print(
                f"{name:<{width}}  {value:.2f}"
                if isinstance(value, float)
                else f"{name:<{width}}  {value}"
            )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def measure(stock: bool, workers: int, seconds: float, jobs: int) -> dict[str, Any]:
    """Returns the figures by name; the store is a PostgreSQL started for this run.

    Args:
        stock: Measure MLflow 3.18.0 on Huey instead of the installed fork.
        workers: Web workers of the server.
        seconds: How long statements are counted.
        jobs: How many jobs the median latency is taken of.
    """
    env = _environment(stock)
    with tempfile.TemporaryDirectory(prefix="mlflow-bench-") as name:
        statements = Path(name) / "statements"
        statements.mkdir()
        Path(name).chmod(0o755)
        with start_postgres(idle.statement_log_options(statements)) as uri:
            _prepare(uri, env, Path(name))
            args = ("--workers", str(workers), "--backend-store-uri", uri)
            server = Server(Path(name) / "server", env=env, args=args)
            try:
                answered, succeeded = latency.seconds_to_first_success(server)
                first_line = latency.median_first_line_seconds(server, jobs)
                time.sleep(10)
                counted = idle.statements_during(statements, seconds)
                return {
                    "measured": "stock 3.18.0 on Huey" if stock else "fork",
                    "web workers": workers,
                    "idle processes": len(server.processes()),
                    "idle memory, PSS MiB": idle.memory_mib(server),
                    "idle statements per second": counted.total() / seconds,
                    "start to answer, s": answered,
                    "start to first job's success, s": succeeded,
                    "POST to first line, median s": first_line,
                    "idle statements": dict(counted.most_common()),
                }
            finally:
                server.stop()


def _environment(stock: bool) -> dict[str, str]:
    own = str(Path(__file__).parent)
    if not stock:
        return _JOB_ENV | {"PYTHONPATH": own}
    released = release_env("3.18.0")
    return _JOB_ENV | {"PYTHONPATH": os.pathsep.join([released["PYTHONPATH"], own])}


def _prepare(uri: str, env: dict[str, str], directory: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "mlflow", "db", "upgrade", uri],
        env=clean_environment(env),
        cwd=directory,
        check=True,
        capture_output=True,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev/measure", description=__doc__)
    parser.add_argument("--stock", action="store_true", help="measure stock MLflow 3.18.0")
    parser.add_argument("--workers", type=int, default=1, help="web workers (1)")
    parser.add_argument("--seconds", type=float, default=60.0, help="count statements so long (60)")
    parser.add_argument("--jobs", type=int, default=7, help="jobs for the median latency (7)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
