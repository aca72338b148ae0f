"""A tracking database of a test, and this process as one that uses it."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlflow
from mlflow.entities import GatewayEndpointModelConfig, GatewayModelLinkageType
from mlflow.server import handlers
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore


def copy_of(database: os.PathLike, folder: Path) -> str:
    """Copy a SQLite file into a folder; the URI of the copy."""
    return f"sqlite:///{shutil.copy(database, folder / 'mlflow.db')}"


def add_gateway_endpoints(store: SqlAlchemyStore, *names: str) -> list[str]:
    """What judges must name; nothing is ever sent to these endpoints. Returns their ids."""
    secret = store.create_gateway_secret("key", {"api_key": "unused"}, provider="openai")
    model = store.create_gateway_model_definition("model", secret.secret_id, "openai", "gpt")
    config = GatewayEndpointModelConfig(
        model_definition_id=model.model_definition_id,
        linkage_type=GatewayModelLinkageType.PRIMARY,
    )
    return [
        store.create_gateway_endpoint(name, [config], usage_tracking=False).endpoint_id
        for name in names
    ]


@contextlib.contextmanager
def tracking_at(uri: str) -> Iterator[None]:
    """This process logs there, as long as the context lasts."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


@contextlib.contextmanager
def as_job_process(store: SqlAlchemyStore, uri: str) -> Iterator[None]:
    """This process is as one of a job is, on a server that allows custom scorers."""
    with pytest.MonkeyPatch.context() as patch, tracking_at(uri):
        patch.setenv("MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS", "true")
        patch.setenv("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
        patch.setattr(handlers, "_tracking_store", store)
        yield
