"""Real runner processes on one database: killed, paused, drained, and left by their server."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path

import pytest
import sqlalchemy

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from tests.pauses import pause_between_writes
from tests.proxies import Proxy
from tests.store.jobs.real_databases import fresh_database

PATIENCE_SECONDS = 90
LOOK_SECONDS = 0.02

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="processes are watched by fd")


@pytest.fixture
def start_runner(database_uri, tmp_path):
    """Start a runner whose leases are short; answers once it has started."""
    processes = []

    def start(
        server_pid: int | None = None, grace_seconds: float = 30.0, uri: str = database_uri
    ) -> subprocess.Popen:
        log = tmp_path / f"runner-{len(processes)}.log"
        env = {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parent),
            "_MLFLOW_SERVER_FILE_STORE": uri,
            "MLFLOW_BACKEND_STORE_URI": uri,
            "_MLFLOW_SERVER_ARTIFACT_ROOT": str(tmp_path),
            "_MLFLOW_SUPPORTED_JOB_FUNCTION_LIST": "crash_jobs.attempt",
            "_MLFLOW_ALLOWED_JOB_NAME_LIST": "crash_attempt",
            "MLFLOW_SERVER_PID": str(server_pid or os.getpid()),
            "MLFLOW_SERVER_JOB_LEASE_TTL": "5",
            "MLFLOW_SERVER_SCHEDULER_LEASE_TTL": "2",
            "MLFLOW_SERVER_JOB_POLL_INTERVAL": "0.2",
            "MLFLOW_SERVER_JOB_DRAIN_GRACE": str(grace_seconds),
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        with log.open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "mlflow.server.jobs.runner"], env=env, stderr=stderr
            )
        processes.append(process)
        wait_until(lambda: "Job runner" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        return process

    yield start
    for process in processes:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


@pytest.fixture
def store(database_uri):
    store = SqlAlchemyJobStore(database_uri)
    yield store
    store.engine.dispose()


@pytest.fixture
def submit(store, tmp_path):
    """Submit a job; answers its id and the folder in which its attempts leave notes."""

    def submit(name: str) -> tuple[str, Path]:
        folder = tmp_path / name
        folder.mkdir()
        job = store.create_job("crash_attempt", json.dumps({"folder": str(folder)}))
        return job.job_id, folder

    return submit


def wait_until(fact: Callable[[], bool], patience_seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + patience_seconds
    while not fact():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(LOOK_SECONDS)


def pidfd_of_attempt(folder: Path, attempt: int) -> int:
    note = folder / f"pid-{attempt}"
    wait_until(note.exists)
    return os.pidfd_open(int(note.read_text()))


def children_of(pid: int) -> dict[int, str]:
    """The process ids of its children, with their commands."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            _, _, stat = (entry / "stat").read_text().rpartition(")")
            if int(stat.split()[1]) == pid:
                found[int(entry.name)] = (entry / "cmdline").read_text()
    return found


def has_ended(pidfd: int, patience_seconds: float) -> bool:
    readable = wait([pidfd], patience_seconds)
    os.close(pidfd)
    return bool(readable)


def let_later_attempts_end(folder: Path) -> None:
    """Let all but the first end. On a busy host a lease may run out once more than is meant."""
    for attempt in range(1, 50):
        (folder / f"end-{attempt}").touch()


def has_status(store: SqlAlchemyJobStore, job_id: str, status: JobStatus) -> bool:
    return store.get_job(job_id).status is status


def test_a_job_of_a_killed_runner_dies_with_it_and_another_runner_finishes_it(
    start_runner, submit, store
):
    job_id, folder = submit("job")
    killed = start_runner()
    first = pidfd_of_attempt(folder, 0)
    start_runner()
    killed.kill()
    assert has_ended(first, PATIENCE_SECONDS)
    let_later_attempts_end(folder)
    wait_until(lambda: has_status(store, job_id, JobStatus.SUCCEEDED))
    job = store.get_job(job_id)
    assert job.parsed_result >= 1
    # I11
    assert f":{killed.pid}:" in job.crashes[0].replica


def test_the_job_of_a_runner_paused_past_its_lease_is_killed_before_another_starts_it_again(
    start_runner, submit, store, database_uri
):
    job_id, folder = submit("job")
    paused = start_runner()
    first = pidfd_of_attempt(folder, 0)
    start_runner()
    pause_between_writes(paused.pid, database_uri)
    os.close(pidfd_of_attempt(folder, 1))
    assert has_ended(first, patience_seconds=0)
    paused.send_signal(signal.SIGCONT)
    let_later_attempts_end(folder)
    wait_until(lambda: has_status(store, job_id, JobStatus.SUCCEEDED))
    assert store.get_job(job_id).parsed_result >= 1


def test_a_job_ends_in_time_though_it_and_all_that_could_end_it_are_stopped(
    start_runner, submit, database_uri
):
    _, folder = submit("job")
    runner = start_runner()
    first = pidfd_of_attempt(folder, 0)
    pause_between_writes(runner.pid, database_uri)
    helpers = children_of(runner.pid)
    assert [pid for pid, command in helpers.items() if "watchdog.py" in command]
    stopped = [*helpers, int((folder / "pid-0").read_text())]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    assert has_ended(first, PATIENCE_SECONDS)
    for pid in helpers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def test_a_stopping_runner_gives_its_jobs_their_grace_and_hands_the_rest_to_recovery(
    start_runner, submit, store
):
    quick_id, quick = submit("quick")
    slow_id, slow = submit("slow")
    runner = start_runner(grace_seconds=5.0)
    quick_process, slow_process = pidfd_of_attempt(quick, 0), pidfd_of_attempt(slow, 0)
    runner.terminate()
    late_id, _ = submit("late")
    (quick / "end-0").touch()
    assert runner.wait(PATIENCE_SECONDS) == 0
    assert has_ended(quick_process, patience_seconds=0)
    assert has_ended(slow_process, patience_seconds=1)
    assert has_status(store, quick_id, JobStatus.SUCCEEDED)
    assert has_status(store, slow_id, JobStatus.NEEDS_RECOVERY)
    assert has_status(store, late_id, JobStatus.PENDING)
    # I11: a deployment is no crash.
    [handed_over] = store.recovery_candidates()
    assert (handed_over.job_id, handed_over.crashed_at) == (slow_id, None)
    assert store.acquire_scheduler_lease("mlflow-job-scheduler", "next", 1.0)


def test_a_second_signal_ends_a_runner_whose_database_neither_answers_nor_hangs_up(
    start_runner, tmp_path
):
    with fresh_database("postgresql", tmp_path) as uri:
        direct = sqlalchemy.make_url(uri)
        with contextlib.closing(Proxy(direct.host, direct.port)) as proxy:
            through = direct.set(host="127.0.0.1", port=proxy.port)
            runner = start_runner(
                grace_seconds=3600.0, uri=through.render_as_string(hide_password=False)
            )
            proxy.hang()
            runner.terminate()
            with pytest.raises(subprocess.TimeoutExpired):
                runner.wait(0.5)
            runner.terminate()
            assert runner.wait(PATIENCE_SECONDS) == 0


def test_a_runner_does_not_outlive_its_server(start_runner):
    server = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    runner = start_runner(server_pid=server.pid)
    server.kill()
    assert runner.wait(10) == 0
    server.wait()
    server.stdin.close()


def test_a_runner_that_cannot_start_says_so_by_its_exit_code(tmp_path):
    env = {**os.environ, "MLFLOW_SERVER_JOB_LEASE_TTL": "soon"}
    env["_MLFLOW_SERVER_FILE_STORE"] = f"sqlite:///{tmp_path}/none.db"
    process = subprocess.run(
        [sys.executable, "-m", "mlflow.server.jobs.runner"],
        env=env,
        stderr=subprocess.PIPE,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert process.returncode == 70
    assert b"MLFLOW_SERVER_JOB_LEASE_TTL" in process.stderr
