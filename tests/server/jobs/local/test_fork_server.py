"""A fork server imports once, holds nothing that a job must not inherit, and every job is its own.

Starting a server takes seconds, so most tests share one.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mlflow.server.jobs.local import forking
from mlflow.server.jobs.local.family import MARK_ENV_VAR
from mlflow.server.jobs.local.fork_server import watched_environment
from mlflow.server.jobs.local.forking import Forking, ForkServerLost
from tests.processes import is_alive, memory_holds
from tests.server.jobs.fakes import FakeClock
from tests.server.jobs.local.forked_results import result_of

pytestmark = pytest.mark.skipif(not Forking.is_possible(), reason="needs Linux")

_HERE = Path(__file__).parent
JOBS = "forked_jobs"
_PATIENCE_SECONDS = 60.0

# Modules of an operator's that must not be imported by a process that is forked.
_JOB = """
import os, threading, time
from mlflow.server.jobs.functions import job
IMPORTED_BY = os.getpid()
{body}
@job(name="{name}", max_workers=1)
def run():
    return [FOUND, IMPORTED_BY == os.getpid()]
"""
_ODD = {
    "odd_secret": 'FOUND = os.environ.get("ODD_API_KEY")',
    "odd_list": 'FOUND = dict(os.environ).get("ODD_API_KEY")',
    "odd_thread": "FOUND = threading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
    "odd_file": 'HELD = open(__file__)\nFOUND = "open"',
    "odd_failure": 'FOUND = os.environ["ODD_API_KEY"]',
}

# Says something when it is imported, and leaves it to whoever flushes.
_WORDY = """
import sys
sys.stdout.write("imported once ")
sys.stderr.write("imported once ")
FOUND = 1
"""

# As the real one, which MLflow uses where it is installed.
_LITELLM = """
import os, threading
SEEN = dict(os.environ)
ASKING = threading.Thread(target=threading.Event().wait, name="asks-the-network", daemon=True)
ASKING.start()
"""
# As the real one, which comes with it.
_TQDM = {
    "__init__": "from tqdm.std import tqdm",
    "auto": "from tqdm.std import tqdm",
    "std": """
import os
OVERRIDES = {name: value for name, value in os.environ.items() if name.startswith("TQDM_")}
class tqdm:
    pass
""",
}


def _surroundings(folder):
    functions = ["forked_jobs.portrait", "plain.run", *(f"{name}.run" for name in _ODD)]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(_HERE), str(folder)]),
        "PYTEST_CURRENT_TEST": "any",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "_MLFLOW_SUPPORTED_JOB_FUNCTION_LIST": ",".join(functions),
        "_MLFLOW_SERVER_FILE_STORE": "postgresql+psycopg2://user:hunter2@host/db",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": "jq0dzd7VxCoUxRyTg7yYjD2dXEdkhs7GFpBDN2fkQ8Q=",
        "ODD_API_KEY": "hunter2",
    }


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory):
    """The environment of a runner whose operator has odd job modules."""
    folder = tmp_path_factory.mktemp("odd")
    for name, body in {"plain": "from plain_helper import HELPED as FOUND", **_ODD}.items():
        (folder / f"{name}.py").write_text(_JOB.format(name=name, body=body))
    (folder / "wordy.py").write_text(_JOB.format(name="wordy", body=_WORDY))
    (folder / "plain_helper.py").write_text("HELPED = 1")
    (folder / "litellm.py").write_text(_LITELLM)
    (folder / "tqdm").mkdir()
    for name, text in _TQDM.items():
        (folder / "tqdm" / f"{name}.py").write_text(text)
    return _surroundings(folder)


@pytest.fixture(scope="module")
def shared(start):
    forks = start()
    forks.wait_until_warm(None)
    assert forks._server.is_warm
    return forks


@pytest.fixture
def run_apart(surroundings, tmp_path):
    """Fork jobs from a runner in which nobody else opens or closes anything; what it has seen."""

    def run_apart(at_once, in_a_row=(), go=tmp_path / "go", is_watched=True):
        told = {
            "at_once": at_once,
            "in_a_row": in_a_row,
            "go": str(go),
            "is_watched": is_watched,
        }
        runner = subprocess.run(
            [sys.executable, str(_HERE / "runner_of_many.py")],
            env=surroundings,
            input=json.dumps(told),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert runner.returncode == 0
        return json.loads(runner.stdout)

    return run_apart


def test_a_server_has_one_thread_its_two_descriptors_and_no_secret(shared):
    pid = shared._server.pid
    assert len(os.listdir(f"/proc/{pid}/task")) == 1
    opened = {
        os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd") if int(fd) > 2
    }
    assert sorted(name.partition(":")[0] for name in opened) == ["pipe", "socket"]
    assert b"hunter2" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert not memory_holds(pid, b"hunter2")


def test_a_job_is_a_process_of_its_own(shared, run, environment):
    seen, code = run(shared, "portrait", TZ="Asia/Tokyo")

    assert code == 0
    assert seen["session"] == seen["group"] == seen["pid"]
    assert seen["imported_by"] == shared._server.pid
    assert seen["descriptors"]["0"] == os.devnull
    assert seen["descriptors"]["2"].startswith("pipe:")
    # The lifeline, and the descriptor that lists the others.
    assert seen["open"] == 5
    assert seen["threads"] == ["MainThread"]
    # As in a fresh interpreter: who starts it in the background of a shell has it ignore SIGINT.
    assert seen["signals"] == [str(signal.SIG_DFL), str(signal.getsignal(signal.SIGINT))]
    assert seen["main"] == "mlflow.server.jobs._job_subproc_entry"
    assert [Path(argument).name for argument in seen["argv"]] == ["_job_subproc_entry.py"]
    assert seen["zone"] == "JST"


def test_the_environment_of_a_job_is_its_own_and_whole(shared, run, environment):
    seen, _ = run(shared, "portrait", OF_THIS_JOB="only")
    found = seen["environment"]
    assert found.pop("OF_THIS_JOB") == "only"
    assert found["ODD_API_KEY"] == "hunter2"
    # Telemetry and the tracking redirect write these in every job.
    written = {"_MLFLOW_TELEMETRY_SESSION_ID", "MLFLOW_TRACKING_URI", MARK_ENV_VAR}
    assert found.keys() - written == environment("portrait").keys() - written

    seen, _ = run(shared, "portrait")

    assert "OF_THIS_JOB" not in seen["environment"]


def test_what_one_job_was_told_is_nowhere_in_the_server_afterwards(shared, run):
    run(shared, "nothing", PROVIDER_KEY="correct-horse-battery-staple")
    assert not memory_holds(shared._server.pid, b"correct-horse-battery-staple")


def test_a_job_has_nothing_left_to_import_before_its_first_line(shared, run):
    assert run(shared, "imports", {"driver": "psycopg2"}) == ([[], True], 0)


def test_the_collector_of_a_job_leaves_what_was_imported_alone_so_that_its_pages_stay_shared(
    shared, run
):
    seen, _ = run(shared, "portrait")
    assert seen["frozen"] > 100_000


def test_what_a_job_makes_is_not_put_between_what_was_imported(shared, run):
    seen, _ = run(shared, "portrait")
    assert seen["taken"] > 0


def test_no_two_jobs_draw_the_same_random_numbers(shared, run):
    drawn = [run(shared, "portrait")[0]["random"] for _ in range(2)]
    assert not set(drawn[0]) & set(drawn[1])


def test_mathematical_libraries_have_their_threads_again_in_a_job(shared, run):
    assert run(shared, "multiply") == (500.0, 0)


@pytest.mark.parametrize("function", [f"{name}.run" for name in _ODD])
def test_a_module_that_must_not_be_shared_is_imported_by_its_own_jobs(shared, run, function):
    (found, imported_here), _ = run(shared, function)
    expected = {"odd_file.run": "open", "odd_thread.run": None}.get(function, "hunter2")
    assert [found, imported_here] == [expected, True]


def test_what_was_said_at_an_import_is_not_said_again_by_each_job(start, run, capfd):
    listed = {"_MLFLOW_SUPPORTED_JOB_FUNCTION_LIST": "wordy.run", "PYTHONUNBUFFERED": ""}
    forks = start(**listed)
    forks.wait_until_warm(None)
    capfd.readouterr()

    for _ in range(2):
        (_, imported_here), _ = run(forks, "wordy.run", **listed)
        assert not imported_here

    out, err = capfd.readouterr()
    assert "imported once" not in out + err


def test_what_calls_models_is_imported_by_the_job_that_does(shared, run):
    seen, _ = run(shared, "ask_model")
    assert seen == {"is_inherited": False, "key": "hunter2", "is_asking": True}


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"PANDAS_COPY_ON_WRITE": "warn"}, "PANDAS_COPY_ON_WRITE"),
        ({"OMP_NUM_THREADS": "1"}, "OMP_NUM_THREADS"),
        ({"TQDM_DISABLE": "1"}, "TQDM_DISABLE"),
        ({"PYTHONPATH": "elsewhere"}, "PYTHONPATH"),
        ({"_MLFLOW_SERVER_FILE_STORE": ""}, "_MLFLOW_SERVER_FILE_STORE"),
    ],
)
def test_a_job_for_which_the_imports_would_have_seen_something_else_is_not_forked(
    shared, environment, caplog, variables, named
):
    with caplog.at_level(logging.INFO, logger=forking.__name__):
        assert shared.fork(environment("nothing", **variables)) is None
    assert f"where {named} differ" in caplog.text


def test_an_exit_code_comes_from_the_server(shared, environment):
    group = shared.fork(environment("leave", {"code": 3}))
    assert group.wait(_PATIENCE_SECONDS)
    assert group.end() == 3
    assert group.end() == 3
    group.stderr.close()


def test_a_job_that_cannot_be_watched_is_not_left_running(run_apart, environment):
    env = environment("wait", {"path": "/never"})
    seen = run_apart(at_once=[env], is_watched=False)
    assert len(seen["errors"]) == 1
    assert "watch" in seen["errors"][0]
    assert seen["at_once"] == 0
    assert_nothing_is_left(seen)


@pytest.mark.parametrize(
    ("together", "one_by_one"), [(32, 200), pytest.param(256, 10_000, marks=pytest.mark.long)]
)
def test_jobs_at_once_and_in_a_row_leave_nothing_behind(
    run_apart, environment, tmp_path, together, one_by_one
):
    go = tmp_path / "go"
    at_once = [environment("wait", {"path": str(go)}) for _ in range(together)]

    seen = run_apart(at_once, [environment("nothing") for _ in range(one_by_one)], go)

    assert seen["at_once"] == together
    assert {result_of(env) for env in at_once} == {*seen["pids"]}
    assert seen["codes"] == [0] * (together + one_by_one)
    assert_nothing_is_left(seen)
    # Python takes memory from the system in pieces of one MiB.
    assert seen["after"]["server_kib"] <= seen["server_kib_once_used"] + 1024


def assert_nothing_is_left(seen):
    assert seen["after"]["children"] == []
    assert seen["after"]["runner"] == seen["before"]["runner"]
    assert seen["after"]["server"] == seen["before"]["server"]


def test_descendants_of_a_forked_job_in_other_sessions_are_gone_when_it_has_ended(
    shared, run, environment, tmp_path
):
    go = tmp_path / "go"
    other = shared.fork(environment("wait", {"path": str(go)}))

    run(shared, "wander", {"announcement": str(tmp_path / "wanderers")})

    pids = json.loads((tmp_path / "wanderers").read_text())
    assert not any(is_alive(pid) for pid in pids.values())
    assert not other.wait(0)
    go.touch()
    _end_all([other])


def test_several_threads_can_fork_at_once(shared, environment):
    codes = []

    def fork(code):
        group = shared.fork(environment("leave", {"code": code}))
        group.wait(_PATIENCE_SECONDS)
        codes.append((code, group.end()))
        group.stderr.close()

    threads = [threading.Thread(target=fork, args=(code,)) for code in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE_SECONDS)
    assert sorted(codes) == [(code, code) for code in range(1, 9)]


def test_a_server_that_died_is_followed_by_another_and_its_job_goes_on(
    start, environment, run, tmp_path, caplog
):
    forks = start()
    forks.wait_until_warm(None)
    first = forks._server
    go = tmp_path / "go"
    env = environment("wait", {"path": str(go)})
    group = forks.fork(env)

    os.kill(first.pid, signal.SIGKILL)
    first._group.wait(_PATIENCE_SECONDS)
    assert forks.fork(environment("nothing")) is None
    forks.wait_until_warm(None)
    seen, _ = run(forks, "portrait")
    go.touch()

    assert "SIGKILL" in caplog.text
    assert seen["imported_by"] == forks._server.pid != first.pid
    assert group.wait(_PATIENCE_SECONDS)
    assert group.end() is None
    assert result_of(env) == group.pid
    group.stderr.close()


@pytest.mark.parametrize("is_warm", [True, False], ids=["warm", "importing"])
def test_a_server_that_died_before_its_first_job_is_followed_by_another(
    start, environment, run, caplog, is_warm
):
    forks = start()
    if is_warm:
        forks.wait_until_warm(None)
    first = forks._server
    os.kill(first.pid, signal.SIGKILL)
    first._group.wait(_PATIENCE_SECONDS)

    # What either finds first; the job starts afresh.
    forks.wait_until_warm(None)
    assert forks.fork(environment("nothing")) is None

    forks.wait_until_warm(None)
    seen, _ = run(forks, "portrait")
    assert seen["imported_by"] == forks._server.pid != first.pid
    assert caplog.text.count("another one is started") == 1


def test_servers_that_die_again_and_again_are_tried_less_and_less_often(monkeypatch):
    started = []

    class Stillborn:
        is_warm = is_outdated = has_forked = False

        @classmethod
        def start(cls, base):
            server = cls()
            started.append(server)
            if len(started) > 3:
                raise OSError("no room")
            return server

        def wait_until_warm(self, timeout):
            raise ForkServerLost("it was killed")

    monkeypatch.setattr(forking, "ForkServer", Stillborn)
    clock = FakeClock()
    forks = Forking(clock)
    forks.start()
    counts = []
    for _ in range(12):
        # As many jobs as may come.
        for _ in range(10):
            forks.wait_until_warm(None)
        counts.append(len(started))
        clock.advance(1.0)

    # After pauses of up to 1, 2, 4 s and so on, each shortened by up to a quarter.
    assert counts[:2] == [2, 3]
    assert 4 <= counts[-1] <= 6
    assert forks._server is None
    forks.stop()


@pytest.mark.parametrize("changed", ["plain.py", "plain_helper.py"])
def test_a_server_is_replaced_when_job_code_changes_or_it_has_grown(
    start, environment, surroundings, changed
):
    forks = start()
    forks.wait_until_warm(None)
    first = forks._server
    group = forks.fork(environment("leave", {"code": 3}))
    module = Path(surroundings["PYTHONPATH"].split(os.pathsep)[1]) / changed
    os.utime(module, ns=(0, module.stat().st_mtime_ns + 1))

    forks.wait_until_warm(None)

    second = forks._server
    assert second is not first
    # The old one is there until its last job has been reaped.
    assert group.wait(_PATIENCE_SECONDS)
    assert group.end() == 3
    group.stderr.close()
    assert first._is_closed
    assert not second.is_outdated
    second._kib = 2 * second._ready["kib"]
    assert second.is_outdated


def test_no_job_and_no_server_outlives_a_killed_runner(surroundings, environment, tmp_path):
    announcement = tmp_path / "announcement"
    env = environment("wait", {"path": str(tmp_path / "never")})
    runner = subprocess.Popen(
        [sys.executable, str(_HERE / "runner_of_forks.py"), str(announcement)],
        env=surroundings,
        stdin=subprocess.PIPE,
        text=True,
    )
    runner.stdin.write(json.dumps(env))
    runner.stdin.close()
    try:
        _wait_until(announcement.exists)
        pids = json.loads(announcement.read_text())
        watched = [os.pidfd_open(pid) for pid in pids.values()]
    finally:
        runner.kill()
        runner.wait()
    for pidfd in watched:
        _wait_for_end(pidfd)


def test_a_process_that_cannot_be_forked_safely_says_so_and_forks_nothing(
    start, environment, tmp_path, surroundings, caplog
):
    (tmp_path / "sitecustomize.py").write_text(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    )
    path = os.pathsep.join([surroundings["PYTHONPATH"], str(tmp_path)])
    forks = start(PYTHONPATH=path)

    forks.wait_until_warm(None)

    assert forks.fork(environment("nothing", PYTHONPATH=path)) is None
    # Another one would be alike.
    forks.wait_until_warm(None)
    assert forks._server is None
    assert "it has threads" in caplog.text
    assert caplog.text.count("started afresh") == 1


def test_stopping_ends_a_server_that_is_not_warm_yet(start):
    forks = start()
    server = forks._server
    forks.stop()
    assert server._group.wait(0)
    with pytest.raises(ForkServerLost):
        server.wait_until_warm(None)
    forks.start()
    assert forks._server is None


def test_a_wait_for_a_server_ends_with_the_callers_patience(start, environment):
    forks = start()
    forks.wait_until_warm(0.01)
    assert forks.fork(environment("nothing")) is None
    forks.stop()


def test_variables_are_noted_as_read_however_they_are_read(monkeypatch):
    for name in ("HERE", "ALSO_HERE", "CHANGED", "REMOVED"):
        monkeypatch.setenv(name, "1")
    with watched_environment() as seen:
        assert "HERE" in os.environ
        assert os.environ.get("ABSENT") is None
        assert os.getenv("ALSO_ABSENT", "default") == "default"
        os.environ["CHANGED"] = "2"
        assert os.environ["CHANGED"] == "2"
        os.environ.setdefault("NEW", "3")
        del os.environ["REMOVED"]
    assert seen.reads == {
        "HERE": "1",
        "ABSENT": None,
        "ALSO_ABSENT": None,
        "CHANGED": "1",
        "NEW": None,
    }
    assert seen.written() == {"CHANGED": "2", "NEW": "3", "REMOVED": None}
    assert not seen.is_listed
    monkeypatch.delenv("NEW")
    with watched_environment() as seen:
        dict(os.environ)
    assert seen.is_listed


def _end_all(groups):
    for group in groups:
        assert group.wait(_PATIENCE_SECONDS)
        assert group.end() == 0
        group.stderr.close()


def _wait_until(fact):
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not fact():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def _wait_for_end(pidfd):
    look = forking.select.poll()
    look.register(pidfd, forking.select.POLLIN)
    assert look.poll(_PATIENCE_SECONDS * 1000)
    os.close(pidfd)
