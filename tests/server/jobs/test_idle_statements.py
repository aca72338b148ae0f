"""I10: how often an idle server that leads looks, and what it sends to PostgreSQL, each minute.

All loops of a runner are beaten by hand, each when it asked to be, with the real periodic tasks.
"""

import heapq
import itertools
from collections import Counter

import pytest
import sqlalchemy

from mlflow.server.jobs import server_tasks, wiring
from mlflow.server.jobs.pace import Pace
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from tests.store.jobs.real_databases import fresh_database

WORKSPACES = 200
# After the first minute, in which a runner looks at everything once.
MINUTES = 20
MOST_PER_MINUTE = 12
MOST_PER_SECOND = 0.18
MOST_BEATS_PER_MINUTE = 10


@pytest.fixture
def database_uri(tmp_path):
    with fresh_database("postgresql", tmp_path) as uri:
        yield uri


@pytest.fixture
def parts(build_parts, clock, monkeypatch):
    """A runner that hears of all work, with the periodic tasks of a server."""
    monkeypatch.setattr(Pace, "hears_all", property(lambda _: True))
    monkeypatch.setattr(wiring, "server_tasks", server_tasks.server_tasks)
    return build_parts(clock)


class Beats:
    """The loops of a runner on a clock that moves from one beat to the next."""

    def __init__(self, parts, store: SqlAlchemyJobStore, clock) -> None:
        self._store = store
        self._clock = clock
        self._began = clock.monotonic()
        self._order = itertools.count()
        self._due = []
        self.statements = []
        self.beats = Counter()
        for loop in [*parts.supervising, parts.claiming, *parts.leading]:
            heapq.heappush(self._due, (0.0, next(self._order), loop))

    def run_until(self, seconds: float) -> None:
        sqlalchemy.event.listen(self._store.engine, "before_cursor_execute", self._record)
        try:
            while self._due and self._due[0][0] <= seconds:
                at, _, loop = heapq.heappop(self._due)
                self._move_to(at)
                self.beats[loop] += 1
                pause = loop.beat_once()
                if pause is not None:
                    heapq.heappush(self._due, (at + pause, next(self._order), loop))
        finally:
            sqlalchemy.event.remove(self._store.engine, "before_cursor_execute", self._record)

    def _move_to(self, at: float) -> None:
        passed = at - (self._clock.monotonic() - self._began)
        self._clock.advance(passed)
        self._store.clock_offset_ms += round(passed * 1000)

    def _record(self, connection, cursor, statement, parameters, context, executemany):
        minute = int((self._clock.monotonic() - self._began) // 60)
        self.statements.append((minute, statement))


def add_workspaces(store: SqlAlchemyJobStore, count: int) -> None:
    with store.engine.begin() as connection:
        for number in range(1, count + 1):
            connection.execute(
                sqlalchemy.text(
                    "INSERT INTO experiments (experiment_id, name, workspace, lifecycle_stage) "
                    "VALUES (:number, 'experiment', :workspace, 'active')"
                ),
                {"number": number, "workspace": f"team-{number}"},
            )


def test_an_idle_leader_of_many_workspaces_sends_at_most_one_statement_in_five_seconds(
    parts, job_store, clock
):
    add_workspaces(job_store, WORKSPACES)
    beats = Beats(parts, job_store, clock)

    beats.run_until(60.0 * (MINUTES + 1))

    counts = [
        sum(each == minute for each, _ in beats.statements) for minute in range(1, MINUTES + 1)
    ]
    assert max(counts) <= MOST_PER_MINUTE, counts
    assert min(counts) > 0
    assert sum(counts) / (60 * MINUTES) <= MOST_PER_SECOND, counts
    assert max(beats.beats.values()) <= MOST_BEATS_PER_MINUTE * (MINUTES + 1)
