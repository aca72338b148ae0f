"""Create the Python environment of a job, unless another job has done so already.

Run as a module by the local executor, which bounds its time and kills it whole. What it leaves
behind when it fails or is killed is marked as incomplete, and the next one starts again.
"""

import argparse
import shutil
from pathlib import Path

from mlflow.server.jobs.local.python_environment import incomplete_mark
from mlflow.utils.file_utils import ExclusiveFileLock
from mlflow.utils.process import _exec_cmd
from mlflow.utils.virtualenv import _get_uv_env_creation_command


def main() -> None:
    parser = argparse.ArgumentParser(prog="_job_env_setup")
    parser.add_argument("--env-dir", type=Path, required=True)
    parser.add_argument("--python-version", required=True)
    parser.add_argument("--requirements-file", type=Path, required=True)
    parser.add_argument("--build-requirements-file", type=Path)
    chosen = parser.parse_args()
    requirements = [chosen.build_requirements_file, chosen.requirements_file]
    set_up(chosen.env_dir, chosen.python_version, [path for path in requirements if path])


def set_up(directory: Path, python_version: str, requirements: list[Path]) -> None:
    """Make the environment complete.

    Args:
        directory: Where it stands.
        python_version: The version of its interpreter.
        requirements: Requirement files, installed one after the other.

    Raises:
        ShellCommandException: `uv` failed; the environment stays incomplete.
    """
    mark = incomplete_mark(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    # The kernel drops the lock when this process ends, however it does.
    with ExclusiveFileLock(f"{directory}.lock"):
        if directory.exists() and not mark.exists():
            return
        mark.touch()
        shutil.rmtree(directory, ignore_errors=True)
        _exec_cmd(_get_uv_env_creation_command(directory, python_version), capture_output=False)
        for path in requirements:
            _exec_cmd(
                ["uv", "pip", "install", "--python", directory / "bin" / "python", "-r", path],
                capture_output=False,
                cwd=str(path.parent),
            )
        mark.unlink()


if __name__ == "__main__":
    main()
