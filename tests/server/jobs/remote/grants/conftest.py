"""The stores of a server, with gateway endpoints that nothing is ever sent to."""

import shutil

import pytest
from sqlalchemy import create_engine

import mlflow
from mlflow.entities import GatewayEndpointModelConfig, GatewayModelLinkageType
from mlflow.server import handlers
from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR
from mlflow.store.db.utils import _initialize_tables
from mlflow.store.jobs import schema
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

ENDPOINTS = ("judges", "others")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """A SQLite file with all tables and the endpoints, to be copied."""
    path = tmp_path_factory.mktemp("grants") / "empty.db"
    engine = create_engine(f"sqlite:///{path}")
    _initialize_tables(engine)
    schema.upgrade(engine)
    engine.dispose()
    _add_endpoints(SqlAlchemyStore(f"sqlite:///{path}", str(path.parent)))
    return path


def _add_endpoints(store):
    secret = store.create_gateway_secret("key", {"api_key": "unused"}, provider="openai")
    model = store.create_gateway_model_definition("model", secret.secret_id, "openai", "gpt")
    config = GatewayEndpointModelConfig(
        model_definition_id=model.model_definition_id,
        linkage_type=GatewayModelLinkageType.PRIMARY,
    )
    for name in ENDPOINTS:
        store.create_gateway_endpoint(name, [config], usage_tracking=False)


@pytest.fixture
def database_uri(empty_database, tmp_path):
    return f"sqlite:///{shutil.copy(empty_database, tmp_path / 'mlflow.db')}"


@pytest.fixture
def store(database_uri, tmp_path, monkeypatch):
    """The tracking store; this process is set up as a web worker of its server."""
    store = SqlAlchemyStore(database_uri, str(tmp_path / "artifacts"))
    monkeypatch.setenv(BACKEND_STORE_URI_ENV_VAR, database_uri)
    monkeypatch.setattr(handlers, "_tracking_store", store)
    monkeypatch.setattr(handlers, "_job_store", None)
    monkeypatch.setattr(handlers, "_model_registry_store", RegistryStore(database_uri))
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(database_uri)
    yield store
    mlflow.set_tracking_uri(before)


@pytest.fixture
def experiment_id(store):
    return store.create_experiment("granted")
