"""Inside a job, MLflow's tracking APIs talk to the backend store instead of the server.

A job has no credentials for the server's HTTP API. Artifacts follow: locations that this server
would serve are read and written where they lie; any other one is still reached over HTTP.
"""

import os
from urllib.parse import urlparse

from mlflow.environment_variables import MLFLOW_GATEWAY_URI
from mlflow.exceptions import MlflowException
from mlflow.server import handlers
from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
from mlflow.tracking._tracking_service.utils import get_tracking_uri, set_tracking_uri

_server_uri: str | None = None


def use_backend_store_for_tracking() -> None:
    """Redirect this process.

    Raises:
        MlflowException: The environment does not say where the backend store is.
    """
    global _server_uri

    store_uri = os.environ.get(BACKEND_STORE_URI_ENV_VAR)
    if not store_uri:
        raise MlflowException(
            f"A job reaches the backend store by {BACKEND_STORE_URI_ENV_VAR}, which is not set."
        )
    candidates = [_server_uri, get_tracking_uri(), MLFLOW_GATEWAY_URI.get()]
    _server_uri = next((uri for uri in candidates if _is_http(uri)), None)
    set_tracking_uri(store_uri)
    _artifact_repository_registry.register("mlflow-artifacts", _artifact_repository)


def _artifact_repository(
    artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
) -> ArtifactRepository:
    if handlers._is_servable_proxied_run_artifact_root(artifact_uri):
        return handlers._get_servable_proxied_artifact_repo(artifact_uri)
    if not _is_http(tracking_uri):
        # Clients made after the redirect name the store, which serves no artifacts.
        tracking_uri = _server_uri or tracking_uri or get_tracking_uri()
    return MlflowArtifactsRepository(
        artifact_uri, tracking_uri=tracking_uri, registry_uri=registry_uri
    )


def _is_http(uri: str | None) -> bool:
    return bool(uri) and urlparse(uri).scheme in ("http", "https")
