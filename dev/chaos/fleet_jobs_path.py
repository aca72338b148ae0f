"""Where a replica finds the fleet's job functions, without finding the rest of this tree.

The root of the repository holds an incomplete `mlflow`, and must not be on anybody's path.
"""

from pathlib import Path

_KINDS = ("plain", "exclusive", "retried", "slow", "crashing", "poison")


def served(uri: str) -> dict[str, str]:
    """The environment of whoever runs or submits these functions on this database."""
    return {
        "_MLFLOW_SERVER_FILE_STORE": uri,
        "MLFLOW_BACKEND_STORE_URI": uri,
        "_MLFLOW_SUPPORTED_JOB_FUNCTION_LIST": _listed("dev.chaos.fleet_jobs."),
        "_MLFLOW_ALLOWED_JOB_NAME_LIST": _listed("chaos_"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def made_in(folder: Path) -> Path:
    """A folder for PYTHONPATH in which there is `dev` and nothing else."""
    path = folder / "importable"
    path.mkdir(parents=True, exist_ok=True)
    link = path / "dev"
    if not link.is_symlink():
        link.symlink_to(Path(__file__).resolve().parents[1], target_is_directory=True)
    return path


def _listed(prefix: str) -> str:
    return ",".join(f"{prefix}{kind}" for kind in _KINDS)
