"""PgQueuer on asyncpg. It refuses fewer slots than two batches, so a batch is half of them."""

import struct
import time

import asyncpg
from pgqueuer import AsyncpgDriver, PgQueuer, Queries

from dev.bench.core.contender import AsyncContender, OnJob


class PgQueuerQueue(AsyncContender):
    def __init__(self, uri: str, concurrency: int) -> None:
        super().__init__(uri, concurrency)

        async def connect() -> None:
            self._connection = await asyncpg.connect(self.dsn)
            self._queries = Queries(AsyncpgDriver(self._connection))

        self.run(connect())

    def prepare(self) -> None:
        self.run(self._queries.install())

    async def push(self, sent_at: float) -> None:
        await self._queries.enqueue("noop", struct.pack("d", sent_at))

    def enqueue_bulk(self, count: int) -> bool:
        payloads = [struct.pack("d", time.time()) for _ in range(count)]
        self.run(self._queries.enqueue(["noop"] * count, payloads, [0] * count))
        return True

    def start(self, on_job: OnJob) -> None:
        async def serve() -> None:
            queue = PgQueuer(AsyncpgDriver(await asyncpg.connect(self.dsn)))

            @queue.entrypoint("noop")
            async def noop(job) -> None:
                on_job(struct.unpack("d", job.payload)[0])

            await queue.run(batch_size=self.concurrency // 2, max_concurrent_tasks=self.concurrency)

        self.spawn(serve())

    def unfinished(self) -> int:
        return self.run(self._connection.fetchval("SELECT count(*) FROM pgqueuer"))

    def stop(self) -> None:
        """The process ends next."""


def contender(uri: str, concurrency: int) -> PgQueuerQueue:
    return PgQueuerQueue(uri, concurrency)
