"""The stores of a server, with gateway endpoints that nothing is ever sent to."""

import pytest

from mlflow.server import handlers
from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from tests.tracking_databases import add_gateway_endpoints, copy_of, tracking_at

ENDPOINTS = ("judges", "others")


@pytest.fixture(scope="session")
def database_with_endpoints(empty_database, tmp_path_factory):
    """A SQLite file with the endpoints, to be copied."""
    folder = tmp_path_factory.mktemp("grants")
    store = SqlAlchemyStore(copy_of(empty_database, folder), str(folder))
    add_gateway_endpoints(store, *ENDPOINTS)
    store.engine.dispose()
    return folder / "mlflow.db"


@pytest.fixture
def database_uri(database_with_endpoints, tmp_path):
    return copy_of(database_with_endpoints, tmp_path)


@pytest.fixture
def store(database_uri, tmp_path, monkeypatch):
    """The tracking store; this process is set up as a web worker of its server."""
    store = SqlAlchemyStore(database_uri, str(tmp_path / "artifacts"))
    monkeypatch.setenv(BACKEND_STORE_URI_ENV_VAR, database_uri)
    monkeypatch.setattr(handlers, "_tracking_store", store)
    monkeypatch.setattr(handlers, "_job_store", None)
    monkeypatch.setattr(handlers, "_model_registry_store", RegistryStore(database_uri))
    with tracking_at(database_uri):
        yield store


@pytest.fixture
def experiment_id(store):
    return store.create_experiment("granted")
