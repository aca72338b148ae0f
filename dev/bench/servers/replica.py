"""One kind of server to be measured: this fork, or stock 3.18.0 on one of its engines."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from dev.serving import Server, clean_environment
from dev.testing.releases import release_env

FUNCTIONS = ("first_line", "two_at_once", "eight_at_once", "hold")
JOBS = ("bench_first_line", "bench_two", "bench_eight", "bench_hold")
_JOB_ENV = {
    "_MLFLOW_SUPPORTED_JOB_FUNCTION_LIST": ",".join(f"bench_jobs.{each}" for each in FUNCTIONS),
    "_MLFLOW_ALLOWED_JOB_NAME_LIST": ",".join(JOBS),
}
_STOCK = "3.18.0"


@dataclass(frozen=True)
class Replica:
    """A way to run `mlflow server`.

    Attributes:
        engine: Engine of stock MLflow; None is this fork.
        jobs_enabled: Whether it runs jobs at all.
    """

    engine: str | None = None
    jobs_enabled: bool = True

    @property
    def is_slow(self) -> bool:
        """Whether a job takes it seconds."""
        return self.engine is not None

    def environment(self, has_bench_jobs: bool = True) -> dict[str, str]:
        """Variables beside the cleaned environment.

        Args:
            has_bench_jobs: Whether the benchmark's job functions are served beside MLflow's own.
        """
        own = str(Path(__file__).parent)
        env = {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": str(self.jobs_enabled).lower(),
            **(_JOB_ENV if has_bench_jobs else {}),
        }
        if self.engine is None:
            return env | {"PYTHONPATH": own}
        if self.engine != "huey":
            # It refuses to be told the name of its default.
            env["MLFLOW_SERVER_JOB_EXECUTION_ENGINE"] = self.engine
        return env | {"PYTHONPATH": os.pathsep.join([release_env(_STOCK)["PYTHONPATH"], own])}

    def server(
        self,
        uri: str,
        directory: Path,
        workers: int,
        has_bench_jobs: bool = True,
        **extra: str,
    ) -> Server:
        """A server on this database, which is brought up to date first; not started."""
        directory.mkdir()
        env = self.environment(has_bench_jobs) | extra
        subprocess.run(
            [sys.executable, "-m", "mlflow", "db", "upgrade", uri],
            env=clean_environment(env),
            cwd=directory,
            check=True,
            capture_output=True,
        )
        args = ("--workers", str(workers), "--backend-store-uri", uri)
        return Server(directory / "server", env=env, args=args)


REPLICAS = {
    "ours": Replica(),
    "stock, Huey": Replica("huey"),
    "stock, executor": Replica("executor"),
    "ours, jobs off": Replica(jobs_enabled=False),
    "stock, jobs off": Replica("huey", jobs_enabled=False),
}
