"""Tell all runners of a database that something may be worth a look; never fails. Keeps I9."""

import os
from typing import Any

from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.wakeups import local_socket, postgresql
from mlflow.server.jobs.wakeups.base import Hint
from mlflow.server.jobs.wakeups.debounce import Debounced

_announcers: dict[tuple[int, Any], "Announcer"] = {}


def announce(store: Any, hint: Hint) -> None:
    """Hint to this replica's runner at once, and to all others of the store's database.

    Args:
        store: Where the change has been committed; a store without a database has no runners.
        hint: What to look at.
    """
    if (engine := getattr(store, "engine", None)) is None:
        return
    # By process, since a fork has no thread of its parent.
    key = (os.getpid(), engine)
    announcer = _announcers.get(key)
    if announcer is None:
        announcer = _announcers.setdefault(
            key, Announcer(engine, Clock(), postgresql.sender_name())
        )
    announcer.to_all(hint)


class Announcer:
    """The ways out of one process for hints about one database."""

    def __init__(self, engine: Any, clock: Clock, sender: str) -> None:
        """
        Args:
            engine: The database.
            clock: Spaces notifications.
            sender: The name of this server.
        """
        self._engine = engine
        self._sender = sender
        self._notifies = postgresql.notifies(engine)
        self._notify_soon = Debounced(self._notify, clock)

    def to_all(self, hint: Hint) -> None:
        """Hint to every runner, this replica's own among them. Does not block."""
        local_socket.wake(hint, self._engine.url)
        if self._notifies:
            self._notify_soon(hint)

    def to_others(self, hint: Hint) -> None:
        """Hint to every runner but this replica's own. Does not block."""
        local_socket.wake_others(hint, self._engine.url)
        if self._notifies:
            self._notify_soon(hint)

    def to_others_now(self, hint: Hint) -> None:
        """The same, on the way before this returns: for a process that is about to end."""
        local_socket.wake_others(hint, self._engine.url)
        if self._notifies:
            self._notify(hint)

    def _notify(self, hint: Hint) -> None:
        postgresql.notify(self._engine, hint, self._sender)
