"""The contract suite's databases: a real one of each kind, prepared once, emptied for each test."""

import dataclasses
from collections.abc import Iterator

import pytest

from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from tests.store.jobs.real_databases import KINDS, fresh_database
from tests.store.jobs.store_factories import empty


@pytest.fixture(scope="session", params=KINDS)
def database_uri(request, tmp_path_factory) -> Iterator[str]:
    """An empty database of each kind."""
    with fresh_database(request.param, tmp_path_factory.mktemp("database")) as uri:
        yield uri


@pytest.fixture(scope="session")
def _opened_store(database_uri) -> Iterator[SqlAlchemyJobStore]:
    store = SqlAlchemyJobStore(database_uri)
    yield store
    store.engine.dispose()


@pytest.fixture
def store(_opened_store) -> SqlAlchemyJobStore:
    empty(_opened_store)
    return _opened_store


@dataclasses.dataclass
class Clock:
    """Moves the database's time, as the store sees it."""

    store: SqlAlchemyJobStore

    def advance(self, seconds: float) -> None:
        self.store.clock_offset_ms += int(seconds * 1000)


@pytest.fixture
def clock(store) -> Clock:
    return Clock(store)
