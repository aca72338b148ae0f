"""Where a replica finds the fleet's job functions, without finding the rest of this tree.

The root of the repository holds an incomplete `mlflow`, and must not be on anybody's path.
"""

from pathlib import Path

_KINDS = ("plain", "exclusive", "retried", "slow", "crashing", "poison")

FUNCTIONS = ",".join(f"dev.chaos.fleet_jobs.{kind}" for kind in _KINDS)
NAMES = ",".join(f"chaos_{kind}" for kind in _KINDS)


def made_in(folder: Path) -> Path:
    """A folder for PYTHONPATH in which there is `dev` and nothing else."""
    path = folder / "importable"
    path.mkdir(parents=True, exist_ok=True)
    link = path / "dev"
    if not link.is_symlink():
        link.symlink_to(Path(__file__).resolve().parents[1], target_is_directory=True)
    return path
