"""Where the code of a job finds itself, as the environment of its process tells."""

import contextlib
import os
from collections.abc import Iterator

from mlflow.environment_variables import MLFLOW_WORKSPACE
from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR
from mlflow.server.jobs.tracking_redirect import use_backend_store_for_tracking
from mlflow.utils.workspace_context import WorkspaceContext


@contextlib.contextmanager
def job_surroundings() -> Iterator[None]:
    """The job's workspace, and the store that its server tracks to."""
    workspace = os.environ.get(MLFLOW_WORKSPACE.name)
    with WorkspaceContext(workspace) if workspace else contextlib.nullcontext():
        # A job container has no way to the store.
        if os.environ.get(BACKEND_STORE_URI_ENV_VAR):
            use_backend_store_for_tracking()
        yield
