"""Whether this host and its backend store can run jobs at all, and if not, why."""

import os

from mlflow.exceptions import MlflowException
from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR
from mlflow.server.jobs.errors import JobError
from mlflow.utils.uri import extract_db_type_from_uri


def check_requirements(backend_store_uri: str | None = None) -> None:
    """Check platform and backend store.

    Args:
        backend_store_uri: The store to check; None means the server's own.

    Raises:
        JobError: On Windows, and where the backend store is no database. The message never
            holds the URI, which may hold a password.
    """
    if os.name == "nt":
        raise JobError("Jobs do not run on Windows.")
    uri = backend_store_uri or os.environ.get(BACKEND_STORE_URI_ENV_VAR)
    if not uri:
        raise JobError("Jobs are kept in a database, and this server has no --backend-store-uri.")
    try:
        extract_db_type_from_uri(uri)
    except MlflowException:
        raise JobError(
            "Jobs are kept in a database, and --backend-store-uri names another kind of store; "
            "sqlite:///mlflow.db would do."
        ) from None
