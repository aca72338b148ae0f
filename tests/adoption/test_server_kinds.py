"""Each way to serve: jobs run, signals end it with the codes that users know, nothing is left.

Whoever changes the web servers' command or the order of an end finds out here for all of them.
"""

import contextlib
import json
import os
import signal
import sys

import pytest

from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from tests.adoption import servers
from tests.adoption.servers import fork_server
from tests.tracking_databases import copy_of

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"),
]

_PATIENCE_SECONDS = 300.0
_KINDS = {
    "uvicorn": ("--workers", "2"),
    "gunicorn": ("--workers", "2", "--gunicorn-opts", "--log-level info"),
    "waitress": ("--waitress-opts", "--threads=2"),
    "dev": ("--dev",),
}
# Each kind and each signal; all pairs take minutes.
_USUAL = {
    ("uvicorn", "SIGINT"),
    ("gunicorn", "SIGTERM"),
    ("waitress", "SIGINT"),
    ("dev", "SIGTERM"),
}
_PAIRS = [
    pytest.param(kind, name, marks=[] if (kind, name) in _USUAL else [pytest.mark.long])
    for kind in _KINDS
    for name in ("SIGTERM", "SIGINT")
]


@pytest.fixture
def serve(tmp_path, empty_database):
    """Start a server of a kind."""
    copy_of(empty_database, tmp_path)
    # Tests that run in the background of a shell ignore it, and so would what they start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.ExitStack() as started:
        started.callback(signal.signal, signal.SIGINT, before)
        # An interpreter for the one job is there sooner than a warm parent of many.
        env = {"MLFLOW_SERVER_JOB_FORK_SERVER": "false"}
        yield lambda kind: started.enter_context(fork_server(tmp_path, env, args=_KINDS[kind]))


def _wait_for(condition, what):
    servers.wait_for(condition, what, _PATIENCE_SECONDS)


def _runner(server) -> int:
    """Returns the process id of the runner once it serves."""
    _wait_for(lambda: "Job runner" in server.log(), "a runner")
    [pid] = [
        pid for pid, command in server.processes().items() if "mlflow.server.jobs.runner" in command
    ]
    return pid


@pytest.mark.parametrize(("kind", "name"), _PAIRS)
def test_a_server_of_each_kind_drains_and_ends_as_it_is_told(serve, tmp_path, kind, name):
    server = serve(kind)
    started, released = tmp_path / "started", tmp_path / "released"
    store = SqlAlchemyJobStore(f"sqlite:///{tmp_path}/mlflow.db")
    params = json.dumps({"started": str(started), "released": str(released)})
    job = store.create_job("adoption_hold", params).job_id
    _wait_for(started.exists, "the start of the held job")
    if name == "SIGINT":
        # The terminal's Ctrl-C goes to all processes of the group.
        os.killpg(server._process.pid, signal.SIGINT)
    else:
        server._process.terminate()
    _wait_for(lambda: "The job runner stops" in server.log(), "the drain")
    released.touch()
    assert server._process.wait(_PATIENCE_SECONDS) == 0, server.tail()
    assert server.processes() == {}
    assert store.get_job(job).status.name == "SUCCEEDED"
    store.engine.dispose()


@pytest.mark.parametrize(
    "kind",
    [
        "uvicorn",
        "gunicorn",
        pytest.param("waitress", marks=pytest.mark.long),
        pytest.param("dev", marks=pytest.mark.long),
    ],
)
def test_nothing_outlives_a_server_that_is_killed_together_with_its_runner(serve, kind):
    server = serve(kind)
    runner = _runner(server)
    # So that it sees nothing of the other's end.
    os.kill(runner, signal.SIGSTOP)
    server._process.kill()
    os.kill(runner, signal.SIGKILL)
    server._process.wait()
    _wait_for(lambda: not server.processes(), "the end of all processes")
