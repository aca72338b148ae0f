"""Whether this server's online scoring runs the code of custom `@scorer` functions, and where."""

from mlflow.environment_variables import (
    MLFLOW_JOB_CUSTOM_SCORER_EXECUTOR_BACKEND,
    MLFLOW_JOB_DEFAULT_EXECUTOR_BACKEND,
    MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS,
)
from mlflow.genai.scorers.scorer_utils import container_scoring_enabled


def custom_scorers_run_online() -> bool:
    """True where a custom scorer, rather than a gateway judge alone, can be scheduled."""
    return container_scoring_enabled() or (
        MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS.get() and custom_scorers_have_a_place_online()
    )


def custom_scorers_have_a_place_online() -> bool:
    """True if online scoring has somewhere to run custom scorers, were they enabled.

    That is in job containers where the operator chose the docker backend for them, and in the job's
    own process where no backend of their own was chosen. A backend of their own is a promise that
    their code runs nowhere else, which an online job, with judges beside them, cannot keep.
    """
    backend = MLFLOW_JOB_CUSTOM_SCORER_EXECUTOR_BACKEND.get()
    return container_scoring_enabled() or backend in (
        None,
        "",
        MLFLOW_JOB_DEFAULT_EXECUTOR_BACKEND.get(),
    )
