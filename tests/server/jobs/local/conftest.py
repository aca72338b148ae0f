"""Fork servers as a runner starts them, and jobs that are forked from them.

A test module has a fixture `surroundings`, the environment of its runner, and names the module of
its job functions in JOBS.
"""

import itertools
import json

import pytest

from mlflow.server.jobs.local.forking import Forking
from mlflow.server.jobs.subprocess_protocol import write_error_classes
from tests.server.jobs.local.forked_results import result_of

_PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def start(surroundings):
    """Start a fork server as a runner would."""
    started = []

    def start(**variables):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**surroundings, **variables}.items():
                patch.setenv(name, value)
            forks = Forking()
            forks.start()
        started.append(forks)
        return forks

    yield start
    for forks in started:
        forks.stop()


@pytest.fixture
def environment(surroundings, tmp_path, request):
    """Make the environment of one job."""
    count = itertools.count()

    def make(function, params=None, **variables):
        folder = tmp_path / str(next(count))
        folder.mkdir()
        (folder / "params").write_text(json.dumps(params or {}))
        write_error_classes(str(folder / "classes"), [])
        protocol = {
            "FUNCTION_FULLNAME": function
            if "." in function
            else f"{request.module.JOBS}.{function}",
            "PARAMS_PATH": str(folder / "params"),
            "RESULT_DUMP_PATH": str(folder / "result"),
            "TRANSIENT_ERROR_CLASSES_PATH": str(folder / "classes"),
        }
        env = {f"_MLFLOW_SERVER_JOB_{name}": value for name, value in protocol.items()}
        # No job here has a store to write to.
        others = {k: v for k, v in surroundings.items() if k != "MLFLOW_TRACKING_URI"}
        return {**others, **env, **variables}

    return make


@pytest.fixture
def run(environment):
    """Fork a job, wait for it, and answer its result and exit code."""

    def run(forks, function, params=None, **variables):
        env = environment(function, params, **variables)
        group = forks.fork(env)
        assert group is not None
        assert group.wait(_PATIENCE_SECONDS)
        code = group.end()
        said = group.stderr.read()
        group.stderr.close()
        return result_of(env, said), code

    return run
