"""The limit: one psycopg 3 connection that claims and finishes, with nothing around it.

It has no leases, fences, retries or results. `single` takes one row at a time, `batched` fifty.
"""

import threading
import time

import psycopg

from dev.bench.core.contender import Contender, OnJob

_IDLE_SECONDS = 0.005
_TABLE = """
CREATE TABLE raw_jobs (
    id bigserial PRIMARY KEY, sent_at float8 NOT NULL, state smallint NOT NULL DEFAULT 0
);
CREATE INDEX raw_jobs_waiting ON raw_jobs (id) WHERE state = 0;
"""
_CLAIM = """
UPDATE raw_jobs SET state = 1
WHERE id IN (
    SELECT id FROM raw_jobs WHERE state = 0 ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
)
RETURNING id, sent_at
"""
_FINISH = "UPDATE raw_jobs SET state = 2 WHERE id = ANY(%s) AND state = 1"


class RawLoop(Contender):
    def __init__(self, uri: str, concurrency: int, batch: int) -> None:
        super().__init__(uri, concurrency)
        self._batch = batch
        self._connection = psycopg.connect(self.dsn, autocommit=True)
        self._stopping = threading.Event()

    def prepare(self) -> None:
        self._connection.execute(_TABLE)

    def enqueue(self, sent_at: float) -> None:
        self._connection.execute("INSERT INTO raw_jobs (sent_at) VALUES (%s)", [sent_at])

    def enqueue_bulk(self, count: int) -> bool:
        with (
            self._connection.cursor() as cursor,
            cursor.copy("COPY raw_jobs (sent_at) FROM STDIN") as copy,
        ):
            for _ in range(count):
                copy.write_row([time.time()])
        return True

    def start(self, on_job: OnJob) -> None:
        threading.Thread(target=self._serve, args=(on_job,), name="raw", daemon=True).start()

    def _serve(self, on_job: OnJob) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            while not self._stopping.is_set():
                rows = connection.execute(_CLAIM, [self._batch]).fetchall()
                for _, sent_at in rows:
                    on_job(sent_at)
                if rows:
                    connection.execute(_FINISH, [[each[0] for each in rows]])
                else:
                    time.sleep(_IDLE_SECONDS)

    def unfinished(self) -> int:
        found = self._connection.execute("SELECT count(*) FROM raw_jobs WHERE state < 2")
        return found.fetchone()[0]

    def stop(self) -> None:
        self._stopping.set()


def contender(uri: str, concurrency: int) -> RawLoop:
    return RawLoop(uri, concurrency, 1)
