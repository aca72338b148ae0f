"""Wake-ups between processes of one host, over Unix datagram sockets. Keeps I9.

A runner listens at a path that follows from the identity which `mlflow server` gives to all its
processes at start, so that its own web workers reach it by that alone. Beside it, in a folder for
each database, lies a link for every runner of that database on this host, through which the other
servers' processes reach it too. SQLite has no servers on other hosts, so there all are reached.

The directory belongs to the user alone. A full socket, an absent runner or a platform without Unix
sockets all mean the same: nobody was woken.
"""

import hashlib
import os
import socket
import stat
import tempfile
import threading
from functools import lru_cache
from pathlib import Path

from sqlalchemy.engine import URL

from mlflow.environment_variables import _MLFLOW_SERVER_BOOT_ID
from mlflow.server.jobs.wakeups.base import NOTHING, Hint, OnHint, read, written

_STOP = b"stop"
_FROM_ANOTHER = b"+"
_DATAGRAM_BYTES = 16
_BACKLOG_DATAGRAMS = 256


def wake(hint: Hint, url: URL | None = None) -> None:
    """Hint to this replica's runner, and to others of the database. Never raises, never blocks.

    Args:
        hint: What to look at.
        url: The database; None wakes nobody else's runner.
    """
    own = socket_path()
    datagram = written(hint).encode()
    if own is not None:
        _send(own, datagram)
    if url is not None:
        wake_others(hint, url)


def wake_others(hint: Hint, url: URL) -> None:
    """Hint to the runners of other replicas on this host, on the same database."""
    own = socket_path()
    try:
        links = [*_folder_of(url).iterdir()] if own is not None else []
    except OSError:
        return
    for link in links:
        if link.name != own.name and (path := _target(link)):
            _send(path, _FROM_ANOTHER + written(hint).encode())


def socket_path() -> Path | None:
    """Where this replica's runner listens; None when there is no such place."""
    boot_id = _MLFLOW_SERVER_BOOT_ID.get()
    if not boot_id or not hasattr(socket, "AF_UNIX"):
        return None
    return _socket_path(boot_id, tempfile.gettempdir())


@lru_cache(maxsize=8)
def _socket_path(boot_id: str, temporary: str) -> Path:
    # A digest, since a socket's path may have no more than about a hundred characters.
    return _directory(temporary) / f"{_digest(boot_id)}.sock"


def local_receiver(url: URL | None = None) -> "LocalSocketReceiver | None":
    """A receiver for this process's replica on a database, or None where there can be none."""
    path = socket_path()
    return None if path is None else LocalSocketReceiver(path, url)


class LocalSocketReceiver:
    """Listens at a path and turns any number of waiting datagrams into one call for each origin."""

    def __init__(self, path: Path, url: URL | None = None) -> None:
        self._path = path
        self._url = url
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    @property
    def hears_own(self) -> bool:
        """Whether this replica's web workers reach it."""
        return self._socket is not None

    @property
    def hears_all(self) -> bool:
        """Whether all processes that may use the database do."""
        is_of_one_host = self._url is not None and self._url.get_backend_name() == "sqlite"
        return is_of_one_host and self.hears_own

    def start(self, on_hint: OnHint) -> None:
        """Listen from now on.

        Raises:
            OSError: The socket cannot be made, or its directory is open to others.
        """
        _make_private(self._path.parent)
        self._path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            listening.bind(str(self._path))
            self._link()
        except OSError:
            listening.close()
            raise
        self._socket = listening
        self._thread = threading.Thread(
            target=self._listen, args=(listening, on_hint), name="mlflow-job-wakeups", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and remove the socket."""
        if self._socket is None:
            return
        # Closing alone would not wake the thread; it is a daemon and ends with the process.
        if _send(self._path, _STOP):
            self._thread.join(timeout=5)
        self._socket.close()
        self._socket = None
        if self._url is not None:
            (_folder_of(self._url) / self._path.name).unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)

    def _link(self) -> None:
        if self._url is None:
            return
        folder = _folder_of(self._url)
        _make_private(folder)
        for link in folder.iterdir():
            # What a killed runner left. Only the runner of the same name ever makes it anew.
            path = _target(link)
            if path is None or path == self._path or not _is_alive(path):
                link.unlink(missing_ok=True)
        (folder / self._path.name).symlink_to(self._path)

    def _listen(self, listening: socket.socket, on_hint: OnHint) -> None:
        while True:
            try:
                received = [listening.recv(_DATAGRAM_BYTES), *_waiting(listening)]
            except OSError:
                return
            if _STOP in received:
                return
            for is_own in (True, False):
                if hint := _sum_of(received, is_own):
                    on_hint(hint, is_own)


def _sum_of(received: list[bytes], is_own: bool) -> Hint:
    hint = NOTHING
    for datagram in received:
        if datagram.startswith(_FROM_ANOTHER) is not is_own:
            hint |= read(datagram.decode(errors="replace"))
    return hint


def _waiting(listening: socket.socket) -> list[bytes]:
    datagrams: list[bytes] = []
    while len(datagrams) < _BACKLOG_DATAGRAMS:
        try:
            datagrams.append(listening.recv(_DATAGRAM_BYTES, socket.MSG_DONTWAIT))
        except BlockingIOError:
            break
    return datagrams


def _send(path: Path, datagram: bytes) -> bool:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(datagram, str(path))
    except OSError:
        return False
    return True


def _target(link: Path) -> Path | None:
    # A socket is named by its own path, which is the shorter one.
    try:
        return link.readlink()
    except OSError:
        return None


def _is_alive(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(str(path))
    except OSError:
        return False
    return True


def _directory(temporary: str) -> Path:
    return Path(temporary) / f"mlflow-jobs-{os.getuid()}"


def _folder_of(url: URL) -> Path:
    database = url.database
    if url.get_backend_name() == "sqlite" and database:
        # Wherever each process was started.
        database = str(Path(database).resolve())
    return _directory(tempfile.gettempdir()) / _digest(
        f"{url.get_backend_name()}|{url.host}|{url.port}|{database}"
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{directory} is not a directory of this user")
    directory.chmod(0o700)
