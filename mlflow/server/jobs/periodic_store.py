"""The tracking store of the periodic tasks, from the server's explicit configuration."""

import os

from mlflow.environment_variables import MLFLOW_SQL_TRACE_ROLLUPS_ENABLED
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.abstract_store import AbstractStore
from mlflow.tracking._tracking_service.utils import _get_store

_BACKEND_STORE_URI = "MLFLOW_BACKEND_STORE_URI"
_DEFAULT_ARTIFACT_ROOT = "MLFLOW_DEFAULT_ARTIFACT_ROOT"


def initialize_periodic_tasks_tracking_store() -> AbstractStore:
    """A new store on the server's backend store; never the server's own HTTP address.

    Raises:
        MlflowException: The backend store is not named, or rollups are on and it is no database.
    """
    uri = os.environ.get(_BACKEND_STORE_URI)
    if not uri:
        raise MlflowException.invalid_parameter_value(
            f"{_BACKEND_STORE_URI} has to name the backend store that periodic tasks work on."
        )
    store = _get_store(store_uri=uri, artifact_uri=os.environ.get(_DEFAULT_ARTIFACT_ROOT))
    if MLFLOW_SQL_TRACE_ROLLUPS_ENABLED.get() and getattr(store, "engine", None) is None:
        raise MlflowException.invalid_parameter_value(
            f"SQL trace rollups need a database, and {_BACKEND_STORE_URI} names none."
        )
    return store
