"""A client, a web worker and `mlflow server` import no more of the jobs subsystem than they use."""

import inspect
import os
import subprocess
import sys

import pytest

import mlflow.server

_OURS = ("mlflow.server.jobs", "mlflow.store.jobs")
# What runs jobs, what they run, and what only the scheduler needs.
_OF_THE_RUNNER = {
    "croniter",
    "mlflow.genai.discovery.job",
    "mlflow.genai.evaluation.job",
    "mlflow.genai.optimize.job",
    "mlflow.genai.scorers.job",
    "mlflow.server.jobs.claimer",
    "mlflow.server.jobs.discovery.online_scoring",
    "mlflow.server.jobs.local_executor",
    "mlflow.server.jobs.runner",
    "mlflow.server.jobs.scheduler",
    "mlflow.server.jobs.wiring",
}


def _imported_with(module):
    code = f"import sys, {module}; print(*sys.modules)"
    env = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {*ran.stdout.split()}


def test_a_client_imports_nothing_of_the_subsystem():
    assert [name for name in _imported_with("mlflow") if name.startswith(_OURS)] == []


@pytest.mark.parametrize("module", ["mlflow.server", "mlflow.server.fastapi_app", "mlflow.cli"])
def test_a_web_worker_imports_nothing_that_only_a_runner_needs(module):
    assert _imported_with(module) & _OF_THE_RUNNER == set()


def test_the_main_process_of_a_server_imports_no_job_functions():
    # All that it needs of the subsystem beside those; `utils` is there for others.
    needed = ["requirements", "executor_registry", "main_process", "launch"]
    modules = ", ".join(f"mlflow.server.jobs.{name}" for name in needed)
    assert _imported_with(modules) & _OF_THE_RUNNER == set()
    assert "mlflow.server.jobs.utils" not in inspect.getsource(mlflow.server)
