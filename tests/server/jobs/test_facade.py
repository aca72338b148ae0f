"""What MLflow 3.18's own modules and plugins look for is where it was."""

import subprocess
import sys

import pytest

from mlflow.server.jobs import docker_executor, job_container, utils
from mlflow.server.jobs.functions import _SUPPORTED_JOB_FUNCTION_LIST
from mlflow.server.jobs.launch import _launch_job_execution_runner


@pytest.mark.parametrize("value", [None, "", "huey", "executor", "Executor", "no such engine"])
def test_any_execution_engine_is_accepted(monkeypatch, value):
    if value is None:
        monkeypatch.delenv("MLFLOW_SERVER_JOB_EXECUTION_ENGINE", raising=False)
    else:
        monkeypatch.setenv("MLFLOW_SERVER_JOB_EXECUTION_ENGINE", value)
    assert utils.get_job_execution_engine() == utils._EXECUTOR_JOB_EXECUTION_ENGINE


def test_the_engine_is_not_called_by_the_name_that_promised_no_extra_variables():
    assert utils.get_job_execution_engine() != "executor"


def test_every_name_of_the_module_is_there():
    assert [name for name in utils.__all__ if not hasattr(utils, name)] == []
    assert utils._launch_job_execution_runner is _launch_job_execution_runner


def test_the_docker_backend_of_3_18_stands_on_these_modules():
    executor = docker_executor.DockerJobExecutor(docker_executor.JobExecutorConfig())
    assert not executor.accepts_extra_envs
    assert executor.supports_job("optimize_prompts", {}) is False
    assert sorted(job_container._RESULT_FIELDS) == [
        "error",
        "is_transient_error",
        "result",
        "succeeded",
    ]
    assert job_container._declared_resource_limits("no_such_job") is None
    plan = job_container.DockerJobPlan("module.function", {"x": 1}, finalize=None)
    assert job_container.job_container_environment(plan)["_MLFLOW_SERVER_JOB_PARAMS"] == '{"x": 1}'


def test_importing_the_module_loads_the_job_functions_and_neither_huey_nor_docker():
    code = """
import sys
import mlflow.server.jobs.utils as utils
unwanted = {"huey", "mlflow.server.jobs.docker_executor"} & set(sys.modules)
print(*sorted(utils._job_name_to_fn_fullname_map.values()), *unwanted, sep="\\n")
"""
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == sorted(_SUPPORTED_JOB_FUNCTION_LIST[:7])
