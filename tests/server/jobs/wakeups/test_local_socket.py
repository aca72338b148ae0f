"""Wake-ups of web workers reach their own runner, or nobody."""

import os
import queue
import socket
import stat
import tempfile
import threading
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from mlflow.environment_variables import _MLFLOW_SERVER_BOOT_ID
from mlflow.server.jobs.wakeups.base import Hint
from mlflow.server.jobs.wakeups.local_socket import (
    LocalSocketReceiver,
    local_receiver,
    socket_path,
    wake,
    wake_others,
)
from tests.server.jobs.fakes import PATIENCE_SECONDS


@pytest.fixture
def folder():
    # Not `tmp_path`, which may be longer than the path of a socket may be.
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(autouse=True)
def replica(monkeypatch, folder):
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv(_MLFLOW_SERVER_BOOT_ID.name, "boot-a")


@pytest.fixture
def receiver():
    receiver = local_receiver()
    yield receiver
    receiver.stop()


def test_a_wake_up_reaches_the_runner_of_the_same_server(receiver):
    woken = threading.Event()
    receiver.start(lambda *_: woken.set())
    wake(Hint.WORK)
    assert woken.wait(PATIENCE_SECONDS)


def test_another_server_on_this_host_is_not_woken(receiver, monkeypatch):
    woken = threading.Semaphore(0)
    receiver.start(lambda *_: woken.release())
    monkeypatch.setenv(_MLFLOW_SERVER_BOOT_ID.name, "boot-b")
    wake(Hint.WORK)
    monkeypatch.setenv(_MLFLOW_SERVER_BOOT_ID.name, "boot-a")
    wake(Hint.WORK)
    assert woken.acquire(timeout=PATIENCE_SECONDS)
    assert not woken.acquire(blocking=False)


def test_many_wake_ups_that_wait_are_one(receiver):
    inside, leave = threading.Event(), threading.Event()
    calls = []

    def on_wake(hint, is_own):
        calls.append(1)
        inside.set()
        leave.wait(PATIENCE_SECONDS)

    receiver.start(on_wake)
    wake(Hint.WORK)
    assert inside.wait(PATIENCE_SECONDS)
    for _ in range(100):
        wake(Hint.WORK)
    leave.set()
    receiver.stop()
    assert len(calls) <= 2


def test_waking_an_absent_runner_is_no_error():
    wake(Hint.WORK)


def test_waking_a_runner_whose_socket_is_full_neither_fails_nor_blocks():
    path = socket_path()
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(path))
        for _ in range(5000):
            wake(Hint.WORK)


def test_without_a_boot_id_nobody_listens_and_nobody_is_woken(monkeypatch):
    monkeypatch.delenv(_MLFLOW_SERVER_BOOT_ID.name)
    assert local_receiver() is None
    wake(Hint.WORK)


def test_the_directory_of_the_sockets_is_private(receiver):
    receiver.start(lambda *_: None)
    mode = stat.S_IMODE(os.stat(socket_path().parent).st_mode)
    assert mode == 0o700


def test_a_directory_that_is_a_link_is_refused(receiver, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    socket_path().parent.symlink_to(elsewhere)
    with pytest.raises(OSError, match="not a directory of this user"):
        receiver.start(lambda *_: None)


def test_a_socket_that_a_killed_runner_left_is_taken_over(receiver):
    receiver.start(lambda *_: None)
    second, woken = local_receiver(), threading.Event()
    second.start(lambda *_: woken.set())
    wake(Hint.WORK)
    assert woken.wait(PATIENCE_SECONDS)
    second.stop()


SQLITE = make_url("sqlite:////data/mlflow.db")
MYSQL = make_url("mysql+pymysql://user:secret@db/mlflow")


@pytest.fixture
def start_replica(monkeypatch):
    """Start the receiver of a server; answers what it is told."""
    receivers = []

    def start(boot_id: str, url) -> queue.Queue:
        monkeypatch.setenv(_MLFLOW_SERVER_BOOT_ID.name, boot_id)
        told = queue.Queue()
        receivers.append(local_receiver(url))
        receivers[-1].start(lambda *hint: told.put(hint))
        return told

    yield start
    for receiver in receivers:
        receiver.stop()


def told(replica: queue.Queue):
    return replica.get(timeout=PATIENCE_SECONDS)


def test_a_hint_says_what_to_look_at(start_replica):
    replica = start_replica("boot-a", SQLITE)
    for hint in (Hint.WORK, Hint.CANCEL, Hint.LEADER, Hint.WORK | Hint.CANCEL):
        wake(hint)
        assert told(replica) == (hint, True)


@pytest.mark.parametrize("url", [SQLITE, MYSQL])
def test_servers_on_one_database_wake_each_other_and_know_their_own(start_replica, url):
    first, second = start_replica("boot-a", url), start_replica("boot-b", url)
    wake(Hint.WORK, url)
    assert told(second) == (Hint.WORK, True)
    assert told(first) == (Hint.WORK, False)
    wake_others(Hint.LEADER, url)
    assert told(first) == (Hint.LEADER, False)
    assert second.empty()


def test_servers_on_different_databases_do_not_wake_each_other(start_replica):
    other = start_replica("boot-a", make_url("sqlite:////data/other.db"))
    own = start_replica("boot-b", SQLITE)
    wake(Hint.WORK, SQLITE)
    assert told(own) == (Hint.WORK, True)
    wake_others(Hint.LEADER, make_url("sqlite:////data/other.db"))
    assert told(other) == (Hint.LEADER, False)
    assert other.empty()


def test_a_server_without_a_runner_wakes_the_runners_of_others(start_replica, monkeypatch):
    replica = start_replica("boot-a", SQLITE)
    monkeypatch.setenv(_MLFLOW_SERVER_BOOT_ID.name, "boot-of-api-only")
    wake(Hint.CANCEL, SQLITE)
    assert told(replica) == (Hint.CANCEL, False)


def test_a_relative_path_names_the_same_database_from_everywhere(
    start_replica, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    replica = start_replica("boot-a", make_url("sqlite:///mlflow.db"))
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    monkeypatch.setenv(_MLFLOW_SERVER_BOOT_ID.name, "boot-b")
    wake(Hint.WORK, make_url(f"sqlite:///{tmp_path}/mlflow.db"))
    assert told(replica) == (Hint.WORK, False)


def test_links_that_killed_runners_left_are_removed(start_replica, folder):
    start_replica("boot-a", SQLITE)
    (link,) = (folder / f"mlflow-jobs-{os.getuid()}").glob("*/*.sock")
    dead = link.parent / "dead.sock"
    dead.symlink_to(link.parent.parent / "dead.sock")
    start_replica("boot-b", SQLITE)
    assert not dead.is_symlink()
    assert len([*link.parent.iterdir()]) == 2


@pytest.mark.parametrize(("url", "all_are_here"), [(SQLITE, True), (MYSQL, False), (None, False)])
def test_all_are_heard_where_the_database_has_one_host(replica, url, all_are_here):
    receiver = LocalSocketReceiver(socket_path(), url)
    assert not receiver.hears_all
    receiver.start(lambda *_: None)
    assert receiver.hears_all is all_are_here
    assert receiver.hears_own
    receiver.stop()
    assert not receiver.hears_all
