"""The end of the server process is noticed, reaped or not."""

import signal
import subprocess
import sys
import threading

import pytest

from mlflow.server.jobs.server_watch import ServerWatch
from tests.server.jobs.fakes import PATIENCE_SECONDS, FakeClock


@pytest.fixture
def process():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()


def test_a_dead_server_is_noticed_before_anybody_reaped_it(process):
    gone = threading.Event()
    ServerWatch(process.pid, FakeClock()).start(gone.set)
    assert not gone.is_set()
    process.kill()
    assert gone.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize("with_pidfd", [True, False])
def test_a_server_that_is_gone_already_is_noticed(process, monkeypatch, with_pidfd):
    if not with_pidfd:
        monkeypatch.delattr("os.pidfd_open", raising=False)
    process.kill()
    process.wait()
    gone = threading.Event()
    ServerWatch(process.pid, FakeClock()).start(gone.set)
    assert gone.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize("with_pidfd", [True, False])
def test_a_server_can_be_asked_to_end(process, monkeypatch, with_pidfd):
    if not with_pidfd:
        monkeypatch.delattr("os.pidfd_open", raising=False)
    watch = ServerWatch(process.pid, FakeClock())
    watch.terminate()
    assert process.wait(PATIENCE_SECONDS) == -signal.SIGTERM
    watch.terminate()


def test_a_server_is_watched_where_a_container_forbids_descriptors_of_processes(
    process, monkeypatch
):
    def forbidden(*_):
        raise PermissionError("forbidden")

    monkeypatch.setattr("os.pidfd_open", forbidden, raising=False)
    watch = ServerWatch(process.pid, FakeClock())
    watch.terminate()
    assert process.wait(PATIENCE_SECONDS) == -signal.SIGTERM
    gone = threading.Event()
    watch.start(gone.set)
    assert gone.wait(PATIENCE_SECONDS)
