"""Whole servers on one database: they start at once, and are restarted in turn under load."""

import contextlib
import itertools
import json
import os
import sys

import pytest

from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from tests.adoption import servers
from tests.adoption.servers import fork_server
from tests.store.jobs.real_databases import fresh_database

pytestmark = [
    pytest.mark.servers,
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"),
]

_PATIENCE_SECONDS = 300.0
_AT_ONCE = 12


def _wait_for(condition, what):
    servers.wait_for(condition, what, _PATIENCE_SECONDS)


class Load:
    """Jobs that write down outside the database that they were at work."""

    def __init__(self, uri: str, folder) -> None:
        self._store = SqlAlchemyJobStore(uri)
        self._folder = folder
        self._count = itertools.count()
        self._jobs = []
        self.notes = folder / "notes"

    def submit(self) -> None:
        for number in itertools.islice(self._count, _AT_ONCE):
            self._create("adoption_note", path=str(self.notes), line=str(number))

    def hold(self):
        """Submit a job that runs until it is released; answers what to wait for, and to touch."""
        name = len(self._jobs)
        started, released = self._folder / f"{name}-started", self._folder / f"{name}-released"
        self._create("adoption_hold", started=str(started), released=str(released))
        return started, released

    def unfinished(self) -> list[str]:
        statuses = {job: self._store.get_job(job).status.name for job in self._jobs}
        return [f"{job} {name}" for job, name in statuses.items() if name != "SUCCEEDED"]

    def written(self) -> list[int]:
        return sorted(map(int, self.notes.read_text().split()))

    def submitted(self) -> int:
        return next(self._count)

    def close(self) -> None:
        self._store.engine.dispose()

    def _create(self, name: str, **params: str) -> None:
        self._jobs.append(self._store.create_job(name, json.dumps(params)).job_id)


def _restart(server, load: Load) -> None:
    load.submit()
    held = [load.hold() for _ in range(2)]
    for started, _ in held:
        _wait_for(started.exists, "the start of a held job")
    server._process.terminate()
    _wait_for(lambda: "The job runner stops" in server.log(), "the drain")
    load.submit()
    for _, released in held:
        released.touch()
    assert server._process.wait(_PATIENCE_SECONDS) == 0, server.tail()
    assert server.processes() == {}
    os.replace(server.log_path, f"{server.log_path}.before")
    server.start()
    server.wait_until_ready(_PATIENCE_SECONDS)


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_a_rolling_restart_of_whole_servers_loses_nothing_and_doubles_nothing(kind, tmp_path):
    with contextlib.ExitStack() as stack:
        uri = stack.enter_context(fresh_database(kind, tmp_path))
        options = ("--workers", "1", "--backend-store-uri", uri)
        fleet = [
            fork_server(tmp_path / name, {"MLFLOW_SERVER_JOB_DRAIN_GRACE": "3600"}, args=options)
            for name in ("a", "b")
        ]
        for server in fleet:
            stack.callback(server.kill)
        # On an empty database.
        for server in fleet:
            server.start()
        for server in fleet:
            server.wait_until_ready(_PATIENCE_SECONDS)
        load = Load(uri, tmp_path)
        stack.callback(load.close)
        for server in fleet:
            _restart(server, load)
        load.submit()
        _wait_for(lambda: not load.unfinished(), "the end of all jobs")
        assert load.written() == [*range(load.submitted())]
        for server in fleet:
            assert server.terminate(_PATIENCE_SECONDS) == 0, server.tail()
            assert server.processes() == {}
