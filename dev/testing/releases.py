"""Released MLflow versions, unpacked to be put before an environment's own by PYTHONPATH."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from dev.serving import clean_environment

_HUEY = "huey<4,>=2.5.4"


class ReleaseUnavailable(RuntimeError):
    """The wheel of a released version is neither in the cache nor to be had from an index."""


def release_env(version: str) -> dict[str, str]:
    """Returns variables under which `python -m mlflow` is the released version with its Huey.

    Its other requirements are taken from the interpreter's environment, which has the same ranges.

    Raises:
        ReleaseUnavailable: No index is reachable and the version was never fetched.
    """
    paths = [_unpacked(f"mlflow=={version}"), _unpacked(_HUEY)]
    return {"PYTHONPATH": os.pathsep.join(str(path) for path in paths)}


def _unpacked(requirement: str) -> Path:
    name = "".join(char if char.isalnum() or char in ".=" else "_" for char in requirement)
    target = _cache() / name
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        unpacked = Path(scratch) / "unpacked"
        with zipfile.ZipFile(_wheel(requirement, Path(scratch))) as wheel:
            wheel.extractall(unpacked)
        try:
            unpacked.rename(target)
        except OSError:
            if not target.exists():
                raise
            shutil.rmtree(unpacked)
    return target


def _wheel(requirement: str, directory: Path) -> Path:
    download = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--only-binary", ":all:", "--dest", str(directory), requirement),
        ],
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    wheels = list(directory.glob("*.whl"))
    if download.returncode or not wheels:
        reason = (download.stderr.strip() or "no wheel").splitlines()[-1]
        raise ReleaseUnavailable(f"{requirement} cannot be fetched: {reason}")
    return wheels[0]


def _cache() -> Path:
    user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    named = os.environ.get("MLFLOW_JOBS_CACHE")
    return Path(named or Path(user_cache) / "mlflow-jobs") / "releases"
