"""Huey with its consumer of threads: SqliteHuey on SQLite, SqlHuey on PostgreSQL.

It keeps no row of a job that ended, and none of one that is under way.
"""

import logging

from huey import SqliteHuey
from huey.contrib.sql_huey import SqlHuey

from dev.bench.core.contender import Contender, OnJob


class HueyQueue(Contender):
    def __init__(self, uri: str, concurrency: int) -> None:
        super().__init__(uri, concurrency)
        logging.getLogger("huey").setLevel(logging.WARNING)
        self._on_job: OnJob = lambda sent_at: None
        if uri.startswith("sqlite"):
            self._huey = SqliteHuey(filename=self.path)
        else:
            self._huey = SqlHuey(database=self.dsn)
        self._task = self._huey.task(name="noop")(lambda sent_at: self._on_job(sent_at))

    def prepare(self) -> None:
        """Done by opening it."""

    def enqueue(self, sent_at: float) -> None:
        self._task(sent_at)

    def start(self, on_job: OnJob) -> None:
        self._on_job = on_job
        # The shortest pause that it takes between looks: it has no wake-ups on these stores.
        self._consumer = self._huey.create_consumer(
            workers=self.concurrency, worker_type="thread", initial_delay=0.01, max_delay=0.1
        )
        self._consumer.start()

    def unfinished(self) -> int:
        return self._huey.pending_count()

    def stop(self) -> None:
        self._consumer.stop()


def contender(uri: str, concurrency: int) -> HueyQueue:
    return HueyQueue(uri, concurrency)
