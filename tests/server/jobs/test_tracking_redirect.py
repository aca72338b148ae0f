"""Inside a job, tracking goes to the store, and artifacts to where the server keeps them."""

import pytest

from mlflow.exceptions import MlflowException
from mlflow.server.jobs import tracking_redirect
from mlflow.server.jobs.tracking_redirect import use_backend_store_for_tracking
from mlflow.store.artifact.artifact_repository_registry import (
    _artifact_repository_registry,
    get_artifact_repository,
)
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
from mlflow.tracking._tracking_service.utils import get_tracking_uri, set_tracking_uri


@pytest.fixture(autouse=True)
def job_process(monkeypatch, tmp_path):
    """What the process of a job looks like, undone afterwards."""
    store_uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", store_uri)
    monkeypatch.setattr(tracking_redirect, "_server_uri", None)
    monkeypatch.delenv("_MLFLOW_SERVER_SERVE_ARTIFACTS", raising=False)
    monkeypatch.setattr(
        _artifact_repository_registry, "_registry", dict(_artifact_repository_registry._registry)
    )
    before = get_tracking_uri()
    yield store_uri
    set_tracking_uri(before)


def test_tracking_goes_to_the_backend_store(job_process):
    set_tracking_uri("http://server:5000")
    use_backend_store_for_tracking()
    assert get_tracking_uri() == job_process


def test_without_a_store_the_redirect_is_refused(monkeypatch):
    monkeypatch.delenv("_MLFLOW_SERVER_FILE_STORE")
    with pytest.raises(MlflowException, match="_MLFLOW_SERVER_FILE_STORE"):
        use_backend_store_for_tracking()


def test_artifacts_that_this_server_serves_are_read_where_they_lie(monkeypatch, tmp_path):
    monkeypatch.setenv("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true")
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", str(tmp_path / "artifacts"))
    use_backend_store_for_tracking()

    repository = get_artifact_repository("mlflow-artifacts:/1/traces")

    assert isinstance(repository, LocalArtifactRepository)
    assert repository.artifact_dir == str(tmp_path / "artifacts" / "1" / "traces")


@pytest.mark.parametrize("again", [False, True])
def test_other_artifacts_are_fetched_over_http_as_before(monkeypatch, again):
    set_tracking_uri("http://server:5000")
    use_backend_store_for_tracking()
    if again:
        use_backend_store_for_tracking()

    repository = get_artifact_repository("mlflow-artifacts:/1/traces")

    assert isinstance(repository, MlflowArtifactsRepository)
    assert repository.artifact_uri.startswith("http://server:5000/")


def test_the_gateways_address_is_the_servers_where_tracking_was_the_store_already(
    monkeypatch, job_process
):
    set_tracking_uri(job_process)
    monkeypatch.setenv("MLFLOW_GATEWAY_URI", "http://gateway:5000")
    use_backend_store_for_tracking()
    repository = get_artifact_repository("mlflow-artifacts:/1/traces", tracking_uri=job_process)
    assert repository.artifact_uri.startswith("http://gateway:5000/")
