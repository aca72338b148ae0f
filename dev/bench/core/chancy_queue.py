"""Chancy with its asynchronous executor. It writes results once a second, by its design."""

import logging
import time

import chancy
from chancy import Chancy, Job, Queue, Worker

from dev.bench.core.contender import AsyncContender, OnJob

_begun: list[OnJob] = [lambda sent_at: None]


@chancy.job()
async def noop(*, sent_at: float) -> None:
    _begun[0](sent_at)


class ChancyQueue(AsyncContender):
    def __init__(self, uri: str, concurrency: int) -> None:
        super().__init__(uri, concurrency)

        async def open_app() -> None:
            # By itself it would write a line for each job; the other peers write none.
            self._chancy = Chancy(self.dsn, log=logging.getLogger("chancy"))
            await self._chancy.__aenter__()

        self.run(open_app())

    def prepare(self) -> None:
        async def migrate() -> None:
            await self._chancy.migrate()
            await self._chancy.declare(
                Queue(
                    "default",
                    concurrency=self.concurrency,
                    executor=Chancy.Executor.Async,
                    eager_polling=True,
                )
            )

        self.run(migrate())

    def _job(self) -> Job:
        return Job.from_func(noop).with_kwargs(sent_at=time.time())

    async def push(self, sent_at: float) -> None:
        await self._chancy.push(self._job())

    def enqueue_bulk(self, count: int) -> bool:
        async def push_many() -> None:
            async for _ in self._chancy.push_many([self._job() for _ in range(count)]):
                pass

        self.run(push_many())
        return True

    def start(self, on_job: OnJob) -> None:
        _begun[0] = on_job

        async def serve() -> None:
            async with Worker(self._chancy, register_signal_handlers=False) as worker:
                await worker.wait_for_shutdown()

        self.spawn(serve())

    def unfinished(self) -> int:
        async def count() -> int:
            async with self._chancy.pool.connection() as connection:
                rows = await connection.execute(
                    "SELECT count(*) FROM chancy_jobs "
                    "WHERE state IN ('pending', 'running', 'retrying')"
                )
                return (await rows.fetchone())[0]

        return self.run(count())

    def stop(self) -> None:
        """The process ends next."""


def contender(uri: str, concurrency: int) -> ChancyQueue:
    return ChancyQueue(uri, concurrency)
