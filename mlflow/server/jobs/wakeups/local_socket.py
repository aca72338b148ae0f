"""Wake-ups from this replica's web workers to its runner, over a Unix datagram socket. Keeps I9.

Both sides derive the socket's path from the identity that `mlflow server` gives to all its
processes at start, so two servers on one host never wake each other. The directory belongs to the
user alone. A full socket, an absent runner or a platform without Unix sockets all mean the same:
nobody was woken.
"""

import hashlib
import os
import socket
import stat
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from mlflow.environment_variables import _MLFLOW_SERVER_BOOT_ID

_STOP = b"s"
_WAKE = b"w"
_BACKLOG_DATAGRAMS = 256


def wake() -> None:
    """Hint to this replica's runner that there may be work. Never raises and never blocks."""
    path = socket_path()
    if path is None:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(_WAKE, str(path))
    except OSError:
        pass


def socket_path() -> Path | None:
    """Where this replica's runner listens; None when there is no such place."""
    boot_id = _MLFLOW_SERVER_BOOT_ID.get()
    if not boot_id or not hasattr(socket, "AF_UNIX"):
        return None
    # A digest, since a socket's path may have no more than about a hundred characters.
    name = hashlib.sha256(boot_id.encode()).hexdigest()[:24]
    return _directory() / f"{name}.sock"


def local_receiver() -> "LocalSocketReceiver | None":
    """A receiver for this process's replica, or None where there can be none."""
    path = socket_path()
    return None if path is None else LocalSocketReceiver(path)


class LocalSocketReceiver:
    """Listens at a path and turns any number of waiting datagrams into one call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self, on_wake: Callable[[], None]) -> None:
        """Listen from now on.

        Raises:
            OSError: The socket cannot be made, or its directory is open to others.
        """
        _make_private(self._path.parent)
        self._path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            listening.bind(str(self._path))
        except OSError:
            listening.close()
            raise
        self._socket = listening
        self._thread = threading.Thread(
            target=self._listen, args=(listening, on_wake), name="mlflow-job-wakeups", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and remove the socket."""
        if self._socket is None:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            try:
                sender.sendto(_STOP, str(self._path))
            except OSError:
                # Closing alone would not wake the thread; it is a daemon and ends with the process.
                pass
            else:
                self._thread.join(timeout=5)
        self._socket.close()
        self._socket = None
        self._path.unlink(missing_ok=True)

    def _listen(self, listening: socket.socket, on_wake: Callable[[], None]) -> None:
        while True:
            try:
                received = [listening.recv(1)]
                received += _waiting(listening)
            except OSError:
                return
            if _STOP in received:
                return
            on_wake()


def _waiting(listening: socket.socket) -> list[bytes]:
    datagrams: list[bytes] = []
    while len(datagrams) < _BACKLOG_DATAGRAMS:
        try:
            datagrams.append(listening.recv(1, socket.MSG_DONTWAIT))
        except BlockingIOError:
            break
    return datagrams


def _directory() -> Path:
    return Path(tempfile.gettempdir()) / f"mlflow-jobs-{os.getuid()}"


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{directory} is not a directory of this user")
    directory.chmod(0o700)
