"""The proxy of a fleet forwards, resets, and falls silent without an end."""

import socket
import threading

import pytest

from dev.chaos.proxy import Proxy

PATIENCE_SECONDS = 30.0
SILENCE_SECONDS = 0.3


@pytest.fixture
def echo():
    """The port of a server that sends back what it gets."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(4096):
                    connection.sendall(data)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


@pytest.fixture
def proxy(echo):
    proxy = Proxy("127.0.0.1", echo)
    yield proxy
    proxy.stop()


@pytest.fixture
def connect(proxy):
    connections = []

    def connect() -> socket.socket:
        connections.append(socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_SECONDS))
        return connections[-1]

    yield connect
    for connection in connections:
        connection.close()


def answer_to(connection: socket.socket, text: bytes) -> bytes:
    connection.sendall(text)
    return connection.recv(4096)


def ask_for_ever(connection: socket.socket) -> None:
    while answer_to(connection, b"again"):
        pass


def connect_and_ask_for_ever(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as connection:
        ask_for_ever(connection)


def test_what_is_written_arrives_and_so_does_the_answer(connect):
    assert answer_to(connect(), b"hello") == b"hello"


def test_a_reset_ends_a_connection_as_an_error(proxy, connect):
    connection = connect()
    assert answer_to(connection, b"hello") == b"hello"
    proxy.reset()
    with pytest.raises(ConnectionError):
        ask_for_ever(connection)


def test_a_new_connection_after_a_reset_works(proxy, connect):
    assert answer_to(connect(), b"one") == b"one"
    proxy.reset()
    assert answer_to(connect(), b"two") == b"two"


def test_silence_keeps_the_connection_and_gives_no_answer_until_it_ends(proxy, connect):
    connection = connect()
    assert answer_to(connection, b"hello") == b"hello"
    proxy.hang()
    connection.sendall(b"is anybody there?")
    connection.settimeout(SILENCE_SECONDS)
    with pytest.raises(TimeoutError):
        connection.recv(4096)
    proxy.flow()
    connection.settimeout(PATIENCE_SECONDS)
    assert connection.recv(4096) == b"is anybody there?"


def test_a_new_connection_in_a_silence_is_taken_and_answered_when_it_ends(proxy, connect):
    proxy.hang()
    connection = connect()
    connection.sendall(b"hello")
    connection.settimeout(SILENCE_SECONDS)
    with pytest.raises(TimeoutError):
        connection.recv(4096)
    proxy.flow()
    connection.settimeout(PATIENCE_SECONDS)
    assert connection.recv(4096) == b"hello"


def test_a_connection_to_nobody_is_reset():
    nobody = Proxy("127.0.0.1", 1)
    try:
        with pytest.raises(ConnectionError):
            connect_and_ask_for_ever(nobody.port)
    finally:
        nobody.stop()
