"""A runner and its fork server are of one import, and the server knows no secret of the runner.

A start takes seconds, so most tests share one.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlflow.server.jobs import launch
from mlflow.server.jobs.local.family import MARK_ENV_VAR
from mlflow.server.jobs.local.forking import Forking
from mlflow.server.jobs.local.job_environment import fork_server_environment
from mlflow.server.jobs.runner_orders import ORDERS_ON_STDIN, Order
from mlflow.server.jobs.subprocess_protocol import _SubprocessJobResult, write_error_classes
from tests.processes import is_alive, memory_holds

pytestmark = pytest.mark.skipif(not Forking.is_possible(), reason="needs Linux")

_HERE = Path(__file__).parent
_PATIENCE_SECONDS = 180.0
_KEY = "jq0dzd7VxCoUxRyTg7yYjD2dXEdkhs7GFpBDN2fkQ8Q="
_SECRETS = {
    "OF_A_PROVIDER_API_KEY": "hunter2-of-a-provider",
    "_MLFLOW_SERVER_FILE_STORE": "postgresql://user:hunter2-of-a-store@host/db",
    "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": _KEY,
}


@pytest.fixture(scope="module")
def launch_runner(tmp_path_factory):
    """Launch a stand-in for a runner as `mlflow server` does; answers what it says."""
    launched = []

    def start(**variables):
        folder = tmp_path_factory.mktemp("runner")
        (folder / "params").write_text("{}")
        write_error_classes(str(folder / "classes"), [])
        protocol = {
            "FUNCTION_FULLNAME": "forked_jobs.portrait",
            "PARAMS_PATH": str(folder / "params"),
            "RESULT_DUMP_PATH": str(folder / "result"),
            "TRANSIENT_ERROR_CLASSES_PATH": str(folder / "classes"),
        }
        env = {
            "PYTHONPATH": str(_HERE),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "_MLFLOW_SUPPORTED_JOB_FUNCTION_LIST": "forked_jobs.portrait",
            "ANNOUNCEMENT": str(folder / "announcement"),
            "PROTOCOL": json.dumps({f"_MLFLOW_SERVER_JOB_{k}": v for k, v in protocol.items()}),
            **_SECRETS,
            **variables,
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(launch, "_RUNNER_MODULE", "runner_of_a_portrait")
            runner = launch._launch_job_execution_runner(env, os.getpid())
        launched.append(runner)
        _wait_until(lambda: (folder / "announcement").exists() or runner.returncode is not None)
        said = json.loads((folder / "announcement").read_text())
        assert said["pid"] == runner.pid
        if (folder / "result").exists():
            said["job"] = json.loads(_SubprocessJobResult.load(str(folder / "result")).result)
        return runner, said

    yield start
    for runner in launched:
        runner.stop(_PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def said(launch_runner):
    """What the runner says that most tests share."""
    return launch_runner()[1]


def test_what_jobs_need_is_imported_once_for_the_runner_and_the_parent_of_jobs(said):
    assert "forked_jobs" in said["imported"]
    assert said["job"]["imported_by"] == said["pid"] != said["server"]
    assert _parent(said["server"]) == said["pid"]


def test_mako_is_imported_without_the_lexers_of_all_languages(said):
    assert "mako.exceptions" in said["imported"]
    # Nor is its import of them left failing.
    assert {"pygments", "mako.ext.pygmentplugin"}.isdisjoint(said["imported"])


def test_the_runner_itself_is_imported_before_the_fork(said):
    assert said["job"]["has_runner"]


def test_the_runner_of_a_server_leaves_a_process_that_may_be_forked_when_it_is_imported():
    code = f"""
import runpy, sys
start = runpy.run_path({launch._WARM_START!r})
start["importlib"].import_module(start["_ASKS_A_PROGRAM"])
server = start["_parts_of"](start["_FORK_SERVER"])
runner = {launch._RUNNER_MODULE!r}
server.warm_up([], server.descriptors().keys(), [runner, *start["_NEEDED_LATER"]])
print(sys.modules[runner].run.__module__)
"""
    env = fork_server_environment({**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"})
    ran = subprocess.run(
        [sys.executable, "-c", code], env=env, check=True, stdout=subprocess.PIPE, text=True
    )
    assert ran.stdout.split() == [launch._RUNNER_MODULE]


def test_the_runner_has_its_whole_environment_and_its_arguments(said):
    environment = said["environment"]
    assert {name: environment[name] for name in _SECRETS} == _SECRETS
    assert environment["MLFLOW_SERVER_PID"] == str(os.getpid())
    assert MARK_ENV_VAR not in environment
    assert (said["name"], said["arguments"]) == ("runner_of_a_portrait", [ORDERS_ON_STDIN])


def test_the_fork_server_is_one_thread_in_a_session_of_its_own_with_two_descriptors(said):
    pid = said["server"]
    assert os.getsid(pid) == pid
    assert len(os.listdir(f"/proc/{pid}/task")) == 1
    opened = {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    assert opened.pop("0") == os.devnull
    others = sorted(name.partition(":")[0] for fd, name in opened.items() if int(fd) > 2)
    assert others == ["pipe", "socket"]
    # Its lifeline, of which only the runner has the other end.
    assert said["job"]["open"] == 5


def test_no_secret_of_the_runner_is_in_the_fork_server_or_in_a_process_listing(said):
    for secret in (b"hunter2", _KEY.encode()):
        assert not memory_holds(said["server"], secret)
        for pid in (said["server"], said["pid"]):
            for listing in ("environ", "cmdline"):
                assert secret not in Path(f"/proc/{pid}/{listing}").read_bytes()
    assert memory_holds(said["pid"], b"hunter2")


def test_each_of_the_two_can_be_told_in_a_process_listing(said):
    shown = {
        which: Path(f"/proc/{said[which]}/cmdline").read_bytes().strip(b"\0").split(b"\0")
        for which in ("pid", "server")
    }
    assert b"runner_of_a_portrait" in shown["pid"]
    assert [word.rpartition(b"/")[2] for word in shown["server"][1:]] == [b"fork_server.py"]


def test_a_job_is_what_it_would_be_of_a_fork_server_started_by_itself(said):
    job = said["job"]
    assert job["session"] == job["group"] == job["pid"]
    assert job["main"] == "mlflow.server.jobs._job_subproc_entry"
    assert job["descriptors"]["0"] == os.devnull
    assert job["descriptors"]["2"].startswith("pipe:")
    assert job["environment"]["OF_A_PROVIDER_API_KEY"] == "hunter2-of-a-provider"


def test_the_fork_server_does_not_outlive_a_runner_that_is_killed(launch_runner):
    runner, said = launch_runner()
    os.kill(said["pid"], signal.SIGKILL)
    # Nor is there to be another runner.
    runner.ask(Order.DRAIN)
    _wait_until(lambda: not is_alive(said["server"]))


def test_where_imports_leave_a_thread_the_runner_is_started_by_itself(launch_runner, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    )
    path = os.pathsep.join([str(_HERE), str(tmp_path)])

    _, said = launch_runner(PYTHONPATH=path)

    assert "forked_jobs" not in said["imported"]
    assert (said["server"], "job" in said) == (None, False)
    assert {name: said["environment"][name] for name in _SECRETS} == _SECRETS
    assert (said["name"], said["arguments"]) == ("__main__", [ORDERS_ON_STDIN])


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _wait_until(fact):
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not fact():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
