"""A server and its runner: who follows whom, and that nothing outlives them."""

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from dev.serving import clean_environment, free_port
from tests.adoption import servers
from tests.adoption.servers import fork_server

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"),
]

_RUNNER = "mlflow.server.jobs.runner"
_PATIENCE_SECONDS = 300.0


def wait_for(condition: Callable[[], bool], what: str) -> None:
    servers.wait_for(condition, what, _PATIENCE_SECONDS)


def _pids(server, word: str) -> list[int]:
    return [pid for pid, command in server.processes().items() if word in " ".join(command)]


def _wait_for_runner(server) -> int:
    """Returns the runner's id once it serves."""
    wait_for(lambda: _pids(server, _RUNNER), "a runner")
    [pid] = _pids(server, _RUNNER)
    wait_for(lambda: f":{pid}:" in server.log(), "the runner's start")
    return pid


def _start_wandering(server, folder: Path) -> None:
    server.submit_job("adoption_wander", {"folder": str(folder)})
    wait_for((folder / "pids").exists, "the wandering job")
    wanderers = {int(pid) for pid in (folder / "pids").read_text().split()}
    assert wanderers <= server.processes().keys()


def _wait_until_nothing_is_left(server) -> None:
    # A server that is killed first gives its runner some seconds to leave its jobs to recovery.
    wait_for(lambda: not server.processes(), "the end of all processes")


def test_a_killed_runner_is_followed_by_another_and_takes_its_jobs_along(tmp_path):
    with fork_server(tmp_path) as server:
        killed = _wait_for_runner(server)
        _start_wandering(server, tmp_path)
        wanderers = {int(pid) for pid in (tmp_path / "pids").read_text().split()}
        os.kill(killed, signal.SIGKILL)
        job = server.submit_job("adoption_add", {"left": 1, "right": 1})
        wait_for(lambda: not wanderers & server.processes().keys(), "the end of the lost job")
        assert server.wait_for_job(job, _PATIENCE_SECONDS)["status"] == "SUCCEEDED"
        assert _wait_for_runner(server) != killed
        assert server.log().count("another one is started") == 1

        [supervisor] = _pids(server, "-m uvicorn")
        os.kill(supervisor, signal.SIGKILL)
        assert server._process.wait(_PATIENCE_SECONDS) == 1, server.tail()
        assert server.processes() == {}


def test_nothing_outlives_a_server_that_is_killed(tmp_path):
    with fork_server(tmp_path) as server:
        _wait_for_runner(server)
        _start_wandering(server, tmp_path)
        server._process.kill()
        server._process.wait()
        _wait_until_nothing_is_left(server)


def test_a_runner_that_cannot_start_ends_the_server(tmp_path):
    server = fork_server(tmp_path, {"MLFLOW_JOB_DEFAULT_EXECUTOR_BACKEND": "docker"})
    # No such daemon, so the backend cannot start.
    server._env["MLFLOW_JOBS_DOCKER_HOST"] = f"tcp://127.0.0.1:{free_port()}"
    server.start()
    try:
        assert server._process.wait(_PATIENCE_SECONDS) == 1, server.tail()
        assert server.processes() == {}
        assert "another one is started" not in server.log()
    finally:
        server.kill()


@pytest.mark.parametrize(("grace", "is_asked_again"), [("3600", True), ("0.5", False)])
def test_a_drain_ends_with_the_grace_that_is_set_or_with_a_second_signal(
    tmp_path, grace, is_asked_again
):
    with fork_server(tmp_path, {"MLFLOW_SERVER_JOB_DRAIN_GRACE": grace}) as server:
        _start_wandering(server, tmp_path)
        server._process.terminate()
        wait_for(lambda: "The job runner stops" in server.log(), "the drain")
        if is_asked_again:
            assert server._process.poll() is None
            server._process.terminate()
        assert server._process.wait(_PATIENCE_SECONDS) == 0, server.tail()
        assert server.processes() == {}
    # Nobody has to wait for a lease before the job runs again, or for another leader.
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        assert database.execute("SELECT status, lease_expires_at FROM jobs").fetchall() == [
            (6, None)
        ]
        assert database.execute("SELECT holder FROM scheduler_leases").fetchall() in ([], [(None,)])


def test_what_a_server_without_a_runner_takes_another_servers_runner_runs(tmp_path):
    database = f"sqlite:///{tmp_path}/mlflow.db"
    with fork_server(tmp_path, {"MLFLOW_SERVER_JOB_POLL_INTERVAL": "0.2"}) as server:
        _wait_for_runner(server)
        env = clean_environment(server._env) | {"_MLFLOW_SERVER_FILE_STORE": database}
        alone = fork_server(tmp_path / "alone")
        alone._env = env | {"_MLFLOW_SERVER_ARTIFACT_ROOT": str(tmp_path)}
        alone._command = [
            *(sys.executable, "-m", "uvicorn", "mlflow.server.fastapi_app:app"),
            *("--host", "127.0.0.1", "--port", str(alone.port)),
        ]
        with alone:
            job = alone.submit_job("adoption_add", {"left": 1, "right": 1})
            assert alone.wait_for_job(job, _PATIENCE_SECONDS)["status"] == "SUCCEEDED"
