"""Wake-ups between all servers on one PostgreSQL database, by NOTIFY. Keeps I9.

Whoever has committed something worth a look sends a NOTIFY by itself: a trigger, or one per row,
would have every commit wait for the lock that NOTIFY takes. The runner of each server listens on a
connection of its own. That it hears anything there is tried, not assumed: the receiver sends itself
a word over another connection, after each connect and whenever it has heard nothing for long. A
pooler that gives a session another server connection for each transaction swallows it, and so does
a connection that is half open. Until the word has come back this receiver does not `hear all`, and
the runner goes by its poll.

    connecting --word came back--> hearing --connection lost, or word lost--> pausing --> connecting

Each time it begins to hear, and each time it stops to, it tells the runner to look at everything
once: hints may have been missed, and the pace changes.
"""

import hashlib
import logging
import os
import random
import selectors
import socket
import threading
import time
import uuid
from collections.abc import Callable

from sqlalchemy import func, select
from sqlalchemy.engine import Engine

from mlflow.environment_variables import _MLFLOW_SERVER_BOOT_ID
from mlflow.server.jobs.backoff import delay_seconds
from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.wakeups.base import EVERYTHING, Hint, OnHint, read, written
from mlflow.server.jobs.wakeups.listening import DRIVERS, Listening
from mlflow.store.jobs import dialects

_logger = logging.getLogger(__name__)

CHANNEL = "mlflow_jobs"

_WORD = "?"
_WORD_SECONDS = 5.0
_QUIET_SECONDS = 300.0
_PAUSE_BASE_SECONDS = 0.5
_PAUSE_MAX_SECONDS = 30.0
# A pooler stays one; a server that was merely slow is given another chance.
_DEAF_PAUSE_SECONDS = 300.0
_STOP_SECONDS = 5.0


class Deaf(Exception):
    """What is sent to this listener does not arrive."""


def notifies(engine: Engine) -> bool:
    """Whether this database carries wake-ups, with the driver that is in use."""
    return engine.dialect.name == "postgresql" and engine.dialect.driver in DRIVERS


def sender_name() -> str:
    """The same in all processes of one server, and in those of no other."""
    boot_id = _MLFLOW_SERVER_BOOT_ID.get() or f"{os.getpid()}-{uuid.uuid4()}"
    return hashlib.sha256(boot_id.encode()).hexdigest()[:12]


def notify(engine: Engine, hint: Hint, sender: str) -> None:
    """Send a hint to all runners of the database. Blocks for a round trip and never raises."""
    try:
        _send(engine, f"{written(hint)}:{sender}")
    except Exception as e:  # noqa: BLE001 - a hint may be lost, whatever the driver raises
        _logger.debug("A wake-up could not be sent: %s", type(e).__name__)


class PostgresReceiver:
    """Listens for the hints of other servers, for as long as the runner lives."""

    def __init__(
        self, engine: Engine, clock: Clock, sender: str, hears_own: Callable[[], bool]
    ) -> None:
        """
        Args:
            engine: The database to listen to; words to oneself are sent over its pool.
            clock: Pauses between attempts to connect.
            sender: The name of this server.
            hears_own: Whether hints of this server arrive by a shorter way.
        """
        self._engine = engine
        self._clock = clock
        self._sender = sender
        self._hears_own = hears_own
        self._hears_all = False
        self._failures = 0
        self._stopping = threading.Event()
        self._stop_reader, self._stop_writer = socket.socketpair()
        self._thread: threading.Thread | None = None

    @property
    def hears_all(self) -> bool:
        """Whether the last word to ourselves has come back, over the connection that is open."""
        return self._hears_all

    def start(self, on_hint: OnHint) -> None:
        """Listen from now on, on a thread of its own."""
        self._thread = threading.Thread(
            target=self._run, args=(on_hint,), name="mlflow-job-listener", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        # Its end is readable.
        self._stop_writer.close()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
        if self._thread is None or not self._thread.is_alive():
            self._stop_reader.close()

    def _run(self, on_hint: OnHint) -> None:
        while not self._stopping.is_set():
            try:
                self._listen(on_hint)
            except Exception as e:  # noqa: BLE001 - root of a thread
                heard, self._hears_all = self._hears_all, False
                if heard:
                    on_hint(EVERYTHING, True)
                self._clock.wait(self._stopping, self._pause_after(e, heard))

    def _listen(self, on_hint: OnHint) -> None:
        listening = Listening(self._engine.url, CHANNEL)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(listening, selectors.EVENT_READ)
                selector.register(self._stop_reader, selectors.EVENT_READ)
                while self._hear_ourselves(listening, selector, on_hint):
                    if not self._hears_all:
                        self._begin_to_hear(on_hint)
                    if not self._hear_others(listening, selector, on_hint):
                        return
        finally:
            listening.close()

    def _begin_to_hear(self, on_hint: OnHint) -> None:
        if self._failures:
            _logger.info("Wake-ups from other servers come again")
        self._failures = 0
        self._hears_all = True
        on_hint(EVERYTHING, False)

    def _hear_ourselves(
        self, listening: Listening, selector: selectors.BaseSelector, on_hint: OnHint
    ) -> bool:
        """Wait for a word to ourselves to come back; false when asked to stop meanwhile."""
        word = f"{_WORD}:{uuid.uuid4().hex}"
        _send(self._engine, word)
        deadline = time.monotonic() + _WORD_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            payloads = self._await_payloads(listening, selector, left)
            if payloads is None:
                return False
            self._tell(payloads, on_hint)
            if word in payloads:
                return True
        raise Deaf

    def _hear_others(
        self, listening: Listening, selector: selectors.BaseSelector, on_hint: OnHint
    ) -> bool:
        """Pass hints on until none has come for long; false when asked to stop meanwhile."""
        # Servers that started together do not try themselves together.
        quiet_seconds = _QUIET_SECONDS * random.uniform(0.8, 1.0)
        while payloads := self._await_payloads(listening, selector, quiet_seconds):
            self._tell(payloads, on_hint)
        return payloads is not None

    def _await_payloads(
        self, listening: Listening, selector: selectors.BaseSelector, seconds: float
    ) -> list[str] | None:
        """What arrives next; nothing when the time is over, None when asked to stop."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            readable = selector.select(left)
            if self._stopping.is_set():
                return None
            if readable and (payloads := listening.arrived()):
                return payloads
        return []

    def _tell(self, payloads: list[str], on_hint: OnHint) -> None:
        for payload in payloads:
            letters, _, sender = payload.partition(":")
            is_own = sender == self._sender
            if is_own and self._hears_own():
                continue
            if hint := read(letters):
                on_hint(hint, is_own)

    def _pause_after(self, error: Exception, heard: bool) -> float:
        self._failures += 1
        level = logging.WARNING if self._failures == 1 else logging.DEBUG
        if isinstance(error, Deaf) and not heard:
            _logger.log(
                level,
                "No wake-ups come from other servers: a notification sent over this database URI "
                "does not arrive, as through a pooler in transaction mode. Jobs are found by "
                "polling instead.",
            )
            return _DEAF_PAUSE_SECONDS * random.uniform(0.8, 1.0)
        first_line = (str(error).splitlines() or [""])[0]
        _logger.log(
            level,
            "Wake-ups from other servers are interrupted (%s: %s)",
            type(error).__name__,
            first_line,
        )
        return delay_seconds(self._failures - 1, _PAUSE_BASE_SECONDS, _PAUSE_MAX_SECONDS)


def _send(engine: Engine, payload: str) -> None:
    with dialects.self_committing(engine) as connection:
        connection.execute(select(func.pg_notify(CHANNEL, payload)))
