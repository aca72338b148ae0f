"""A TCP proxy in the test's process, to cut or hang the connections of a server that others use."""

import contextlib
import socket
import threading
from multiprocessing.connection import wait


class Proxy:
    """Forwards what comes to `port` until told otherwise.

    Attributes:
        port: Where it listens on the loopback interface.
        sent: All that clients have sent, to be looked through for statements.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.sent = bytearray()
        self._open = threading.Event()
        self._open.set()
        self._forwards = threading.Event()
        self._forwards.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, name="test-proxy", daemon=True).start()

    def cut(self) -> None:
        """End all connections, and new ones as soon as they come, until `restore`."""
        self._open.clear()
        self.end_connections()

    def end_connections(self) -> None:
        """End all connections; new ones are let through."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for each in pair:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def hang(self) -> None:
        """Let every connection stand, and forward nothing any more on those that are open."""
        self._forwards.clear()

    def restore(self) -> None:
        """Let new connections through again."""
        self._forwards.set()
        self._open.set()

    def close(self) -> None:
        """End everything."""
        self.cut()
        self._forwards.set()
        # Closing alone would not wake the thread that accepts.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if not self._open.is_set():
                client.close()
                continue
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._pairs.append((client, server))
            threading.Thread(
                target=self._forward, args=(client, server), name="test-proxied", daemon=True
            ).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with client, server, contextlib.suppress(OSError):
            while True:
                readable = wait([client, server])
                self._forwards.wait()
                for each in readable:
                    data = each.recv(65536)
                    if not data:
                        return
                    if each is client:
                        self.sent += data
                    (server if each is client else client).sendall(data)
