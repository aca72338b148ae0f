"""What a forked job has written."""

import json
import os

from mlflow.server.jobs.subprocess_protocol import _SubprocessJobResult


def result_of(env, said=b""):
    """The answer of a job that succeeded, from its environment and what it said."""
    path = env["_MLFLOW_SERVER_JOB_RESULT_DUMP_PATH"]
    assert os.path.exists(path), said.decode()
    result = _SubprocessJobResult.load(path)
    assert result.succeeded, result.error
    return json.loads(result.result)
