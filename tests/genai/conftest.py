"""A real tracking database on SQLite, and the process set up as a job process is."""

import pytest

from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from tests.tracking_databases import as_job_process, copy_of


@pytest.fixture
def store(empty_database, tmp_path, monkeypatch):
    """The tracking store of a job process on a server that allows custom scorers."""
    monkeypatch.chdir(tmp_path)
    uri = copy_of(empty_database, tmp_path)
    store = SqlAlchemyStore(uri, str(tmp_path / "artifacts"))
    monkeypatch.setenv(BACKEND_STORE_URI_ENV_VAR, uri)
    monkeypatch.setenv("_MLFLOW_SERVER_BOOT_ID", "a server started this process")
    with as_job_process(store, uri):
        yield store
