"""The Python environment that a job function asked for: where it stands, how to run in it.

Environments are shared between jobs and kept. One is complete when its directory exists and the
mark beside it does not; `_job_env_setup` makes it so.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.utils import PYTHON_VERSION
from mlflow.utils.environment import _PythonEnv
from mlflow.utils.virtualenv import _get_mlflow_virtualenv_root, _get_virtualenv_name


@dataclass(frozen=True)
class PythonEnvironment:
    """One environment on this host, complete or not."""

    directory: Path
    wanted: _PythonEnv

    @classmethod
    def of(cls, python_env: _PythonEnv) -> "PythonEnvironment":
        """The environment for these requirements, always of the server's own Python version."""
        wanted = _PythonEnv(
            python=PYTHON_VERSION,
            build_dependencies=list(python_env.build_dependencies),
            dependencies=list(python_env.dependencies),
        )
        root = Path(_get_mlflow_virtualenv_root())
        return cls(root / _get_virtualenv_name(wanted, None), wanted)

    @property
    def is_complete(self) -> bool:
        return self.directory.exists() and not incomplete_mark(self.directory).exists()

    @property
    def python(self) -> str:
        return str(self.directory / "bin" / "python")

    def setup_arguments(self, workdir: Path) -> list[str]:
        """The arguments for `_job_env_setup`, whose files are written to `workdir`.

        Raises:
            MlflowException: `uv` is not installed.
        """
        if shutil.which("uv") is None:
            raise MlflowException(
                "This job needs a Python environment of its own, and 'uv', which would create it, "
                "is not installed on the server."
            )
        arguments = ["--env-dir", str(self.directory), "--python-version", self.wanted.python]
        files = {
            "--requirements-file": ("requirements.txt", self.wanted.dependencies),
            "--build-requirements-file": ("build-requirements.txt", self.wanted.build_dependencies),
        }
        for option, (name, requirements) in files.items():
            if requirements:
                path = workdir / name
                path.write_text("\n".join(requirements))
                arguments += [option, str(path)]
        return arguments

    def activated(self, env: Mapping[str, str]) -> dict[str, str]:
        """`env` as it is inside this environment."""
        activated = {name: value for name, value in env.items() if name != "PYTHONHOME"}
        activated["VIRTUAL_ENV"] = str(self.directory)
        activated["PATH"] = os.pathsep.join(
            [str(self.directory / "bin"), env.get("PATH", os.defpath)]
        )
        return activated


def incomplete_mark(directory: Path) -> Path:
    """The file beside an environment's directory that exists while it is not complete."""
    return directory.with_name(f".{directory.name}.mlflow-job-setup-incomplete")
