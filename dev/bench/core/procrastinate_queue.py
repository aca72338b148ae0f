"""Procrastinate: asynchronous worker on psycopg 3."""

import asyncio
import time

import procrastinate

from dev.bench.core.contender import AsyncContender, OnJob


class Procrastinate(AsyncContender):
    def __init__(self, uri: str, concurrency: int) -> None:
        super().__init__(uri, concurrency)
        self._on_job: OnJob = lambda sent_at: None
        self._stop = asyncio.Event()

        async def open_app() -> None:
            connector = procrastinate.PsycopgConnector(conninfo=self.dsn)
            self._app = procrastinate.App(connector=connector)
            self._task = self._app.task(name="noop")(self._noop)
            await self._app.open_async()

        self.run(open_app())

    async def _noop(self, sent_at: float) -> None:
        self._on_job(sent_at)

    def prepare(self) -> None:
        self.run(self._app.schema_manager.apply_schema_async())

    async def push(self, sent_at: float) -> None:
        await self._task.defer_async(sent_at=sent_at)

    def enqueue_bulk(self, count: int) -> bool:
        self.run(self._task.batch_defer_async(*({"sent_at": time.time()} for _ in range(count))))
        return True

    def start(self, on_job: OnJob) -> None:
        self._on_job = on_job
        self.spawn(
            self._app.run_worker_async(
                concurrency=self.concurrency, install_signal_handlers=False, listen_notify=True
            )
        )

    def unfinished(self) -> int:
        async def count() -> int:
            row = await self._app.connector.execute_query_one_async(
                "SELECT count(*) AS jobs FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
            )
            return row["jobs"]

        return self.run(count())

    def stop(self) -> None:
        """The process ends next."""


def contender(uri: str, concurrency: int) -> Procrastinate:
    return Procrastinate(uri, concurrency)
