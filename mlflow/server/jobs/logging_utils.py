"""Keep libraries that speak at every start out of the logs of runners and jobs."""

import logging

from mlflow.utils.logging_utils import get_mlflow_log_level


def configure_logging_for_jobs() -> None:
    """Let Alembic speak of warnings only, unless MLflow itself is to log at DEBUG."""
    level = logging.getLevelName(get_mlflow_log_level())
    alembic = logging.getLogger("alembic.runtime.migration")
    # Setting a level visits every logger, which costs a forked job its share of their memory.
    if level > logging.DEBUG and alembic.level != logging.WARNING:
        alembic.setLevel(logging.WARNING)
