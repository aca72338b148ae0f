"""Wake-ups of web workers reach their own runner, or nobody."""

import os
import socket
import stat
import threading

import pytest

from mlflow.environment_variables import _MLFLOW_SERVER_BOOT_ID
from mlflow.server.jobs.wakeups.local_socket import local_receiver, socket_path, wake
from tests.server.jobs.fakes import PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def replica(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv(_MLFLOW_SERVER_BOOT_ID.name, "boot-a")


@pytest.fixture
def receiver():
    receiver = local_receiver()
    yield receiver
    receiver.stop()


def test_a_wake_up_reaches_the_runner_of_the_same_server(receiver):
    woken = threading.Event()
    receiver.start(woken.set)
    wake()
    assert woken.wait(PATIENCE_SECONDS)


def test_another_server_on_this_host_is_not_woken(receiver, monkeypatch):
    woken = threading.Semaphore(0)
    receiver.start(woken.release)
    monkeypatch.setenv(_MLFLOW_SERVER_BOOT_ID.name, "boot-b")
    wake()
    monkeypatch.setenv(_MLFLOW_SERVER_BOOT_ID.name, "boot-a")
    wake()
    assert woken.acquire(timeout=PATIENCE_SECONDS)
    assert not woken.acquire(blocking=False)


def test_many_wake_ups_that_wait_are_one(receiver):
    inside, leave = threading.Event(), threading.Event()
    calls = []

    def on_wake():
        calls.append(1)
        inside.set()
        leave.wait(PATIENCE_SECONDS)

    receiver.start(on_wake)
    wake()
    assert inside.wait(PATIENCE_SECONDS)
    for _ in range(100):
        wake()
    leave.set()
    receiver.stop()
    assert len(calls) <= 2


def test_waking_an_absent_runner_is_no_error():
    wake()


def test_waking_a_runner_whose_socket_is_full_neither_fails_nor_blocks():
    path = socket_path()
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(path))
        for _ in range(5000):
            wake()


def test_without_a_boot_id_nobody_listens_and_nobody_is_woken(monkeypatch):
    monkeypatch.delenv(_MLFLOW_SERVER_BOOT_ID.name)
    assert local_receiver() is None
    wake()


def test_the_directory_of_the_sockets_is_private(receiver):
    receiver.start(lambda: None)
    mode = stat.S_IMODE(os.stat(socket_path().parent).st_mode)
    assert mode == 0o700


def test_a_directory_that_is_a_link_is_refused(receiver, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    socket_path().parent.symlink_to(elsewhere)
    with pytest.raises(OSError, match="not a directory of this user"):
        receiver.start(lambda: None)


def test_a_socket_that_a_killed_runner_left_is_taken_over(receiver):
    receiver.start(lambda: None)
    second, woken = local_receiver(), threading.Event()
    second.start(woken.set)
    wake()
    assert woken.wait(PATIENCE_SECONDS)
    second.stop()
