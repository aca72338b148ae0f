"""What a queue has to show to be measured: prepare, enqueue, work, count what is left.

A contender runs in two processes on one database: one that enqueues, and one whose workers run a
job function that does nothing but say that it began. What is handed to a job is the Unix time at
which its enqueueing began, so that its start tells how long it took.

Modules in this package import nothing of the repository but each other, since most of them run in
an environment that has none of it.
"""

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any

OnJob = Callable[[float], None]


class Contender(ABC):
    """One queue on one database."""

    def __init__(self, uri: str, concurrency: int) -> None:
        """
        Args:
            uri: `sqlite:///path` or `postgresql+driver://...`.
            concurrency: How many jobs may be under way at once.
        """
        self.uri = uri
        self.concurrency = concurrency

    @property
    def dsn(self) -> str:
        """The PostgreSQL URI as its own tools write it."""
        scheme, rest = self.uri.split("://", 1)
        return f"{scheme.split('+')[0]}://{rest}"

    @property
    def path(self) -> str:
        """The file of a SQLite database."""
        return self.uri.removeprefix("sqlite:///")

    @abstractmethod
    def prepare(self) -> None:
        """Make the tables."""

    @abstractmethod
    def enqueue(self, sent_at: float) -> None:
        """Enqueue one job in the way of ordinary callers."""

    def enqueue_bulk(self, count: int) -> bool:
        """Enqueue many jobs in the quickest way; False if there is no such way."""
        return False

    def enqueue_each(self, count: int) -> None:
        """Enqueue jobs one by one."""
        for _ in range(count):
            self.enqueue(time.time())

    def enqueue_paced(self, rate: float, count: int) -> None:
        """Enqueue jobs at a steady rate per second."""
        began = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            self.enqueue(time.time())

    @abstractmethod
    def start(self, on_job: OnJob) -> None:
        """Begin to work; each job calls `on_job` first of all, from whatever thread it has."""

    @abstractmethod
    def unfinished(self) -> int:
        """How many jobs the database knows that have not ended."""

    @abstractmethod
    def stop(self) -> None:
        """End the workers."""


class AsyncContender(Contender):
    """A contender whose own code runs in an event loop, on a thread of its own."""

    def __init__(self, uri: str, concurrency: int) -> None:
        super().__init__(uri, concurrency)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="contender", daemon=True).start()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run it in the loop and wait for its answer."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Let it run in the loop."""
        asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    @abstractmethod
    async def push(self, sent_at: float) -> None:
        """Enqueue one job, within the loop."""

    def enqueue(self, sent_at: float) -> None:
        self.run(self.push(sent_at))

    def enqueue_each(self, count: int) -> None:
        async def each() -> None:
            for _ in range(count):
                await self.push(time.time())

        self.run(each())

    def enqueue_paced(self, rate: float, count: int) -> None:
        async def paced() -> None:
            began = time.monotonic()
            for number in range(count):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                await self.push(time.time())

        self.run(paced())
