"""oban-py, where the Python is new enough for it (3.12)."""

import time

import oban
from oban import Oban, worker
from psycopg_pool import AsyncConnectionPool

from dev.bench.core.contender import AsyncContender, OnJob

_begun: list[OnJob] = [lambda sent_at: None]


@worker(queue="default")
class Noop:
    async def process(self, job) -> None:
        _begun[0](job.args["sent_at"])


class ObanQueue(AsyncContender):
    def __init__(self, uri: str, concurrency: int) -> None:
        super().__init__(uri, concurrency)

        async def open_pool() -> None:
            self._pool = AsyncConnectionPool(conninfo=self.dsn, min_size=2, max_size=10, open=False)
            await self._pool.open()
            self._oban = Oban(pool=self._pool)

        self.run(open_pool())

    def prepare(self) -> None:
        self.run(oban.schema.install(self._pool))

    async def push(self, sent_at: float) -> None:
        await self._oban.enqueue(Noop.new({"sent_at": sent_at}))

    def enqueue_bulk(self, count: int) -> bool:
        made = [Noop.new({"sent_at": time.time()}) for _ in range(count)]
        self.run(self._oban.enqueue_many(*made))
        return True

    def start(self, on_job: OnJob) -> None:
        _begun[0] = on_job

        async def serve() -> None:
            self._serving = Oban(pool=self._pool, queues={"default": self.concurrency})
            await self._serving.start()

        self.run(serve())

    def unfinished(self) -> int:
        async def count() -> int:
            async with self._pool.connection() as connection:
                rows = await connection.execute(
                    "SELECT count(*) FROM oban_jobs "
                    "WHERE state IN ('available', 'executing', 'scheduled', 'retryable')"
                )
                return (await rows.fetchone())[0]

        return self.run(count())

    def stop(self) -> None:
        """The process ends next."""


def contender(uri: str, concurrency: int) -> ObanQueue:
    return ObanQueue(uri, concurrency)
