"""A virtual environment with the fork in it, made once and kept up to date by what changed.

Runs on a bare Python: whatever needs a third-party package runs inside the environment.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dev.build.errors import BuildError, EnvironmentFailed
from dev.build.project import ROOT, files_below, read_requirements

# As in pyproject.toml, which a bare Python 3.10 cannot read.
BUILD_TOOLS = ("ast-grep-py>=0.38,<1", "pip>=23", "pyyaml>=6,<7")

_STAMPS = "mlflow-jobs.json"
_INPUTS = ("base.txt", "requirements.txt", "pyproject.toml", "LICENSE", "README.md")


def ensure_environment(
    path: str | os.PathLike,
    *,
    requirements: Sequence[str] = (),
    live: bool = False,
    progress: Callable[[str], None] = print,
) -> Path:
    """Make or bring up to date an environment with the fork, its requirements and some more.

    Nothing is fetched, installed or built whose inputs are as they were, so a second call is
    quick and needs no package index.

    Args:
        path: Folder of the environment.
        requirements: Requirements beyond the fork's own, as pip writes them.
        live: True links this repository's files into the environment, so that a change of one is
            live at once; false installs the built wheel.
        progress: Called with a sentence before each slow step.

    Returns:
        The environment's Python.

    Raises:
        SystemExit: A step failed; the message is one sentence.
    """
    environment = _Environment(Path(path).absolute(), progress)
    try:
        environment.ensure_python()
        environment.ensure_requirements([*read_requirements(), *BUILD_TOOLS, *requirements])
        environment.ensure_fork(live)
    except BuildError as error:
        sys.exit(f"error: {error}")
    return environment.python


def ensure_tools(path: str | os.PathLike, *, progress: Callable[[str], None] = print) -> Path:
    """Make or bring up to date a small environment with the build's own tools only.

    Args:
        path: Folder of the environment.
        progress: Called with a sentence before each slow step.

    Returns:
        The environment's Python.

    Raises:
        SystemExit: A step failed; the message is one sentence.
    """
    environment = _Environment(Path(path).absolute(), progress)
    try:
        environment.ensure_python()
        environment.ensure_requirements(list(BUILD_TOOLS))
    except BuildError as error:
        sys.exit(f"error: {error}")
    return environment.python


class _Environment:
    """One environment and its stamps: for each step, the digest of what it was made from."""

    def __init__(self, path: Path, progress: Callable[[str], None]) -> None:
        self._path = path
        self._progress = progress
        self._stamps: dict[str, str] = {}

    @property
    def python(self) -> Path:
        return self._path / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def ensure_python(self) -> None:
        wanted = _digest([sys.version])
        stamps = self._path / _STAMPS
        if self.python.exists() and stamps.is_file():
            self._stamps = json.loads(stamps.read_text())
        if self._stamps.get("python") == wanted:
            return
        if self._path.exists() and any(self._path.iterdir()):
            if not (self._path / "pyvenv.cfg").is_file():
                raise EnvironmentFailed(
                    f"{self._path} is no virtual environment; name another folder or empty it."
                )
            shutil.rmtree(self._path)
        self._progress(f"Making a virtual environment in {self._path}.")
        self._stamps = {}
        _run([sys.executable, "-m", "venv", str(self._path)], "make a virtual environment")
        self._stamp("python", wanted)

    def ensure_requirements(self, requirements: list[str]) -> None:
        wanted = _digest(requirements)
        if self._stamps.get("requirements") == wanted:
            return
        self._progress(f"Installing {len(requirements)} requirements and what they require.")
        with tempfile.TemporaryDirectory() as folder:
            listed = Path(folder, "requirements.txt")
            listed.write_text("\n".join(requirements) + "\n")
            pip = [str(self.python), "-m", "pip", "install", "--quiet", "--requirement"]
            _run([*pip, str(listed)], "install the requirements")
        self._stamp("requirements", wanted)

    def ensure_fork(self, live: bool) -> None:
        wanted = _digest(fork_inputs(ROOT, live))
        if self._stamps.get("fork") == wanted:
            return
        # An interrupted install is found stale by the next call.
        self._stamp("fork", "")
        if live:
            self._progress("Linking the repository over the base.")
            self._build("link")
        else:
            self._progress("Building and installing the fork.")
            with tempfile.TemporaryDirectory() as folder:
                self._build("wheel", folder)
                (wheel,) = Path(folder).glob("*.whl")
                pip = [str(self.python), "-m", "pip", "install", "--quiet", "--no-index"]
                _run([*pip, "--no-deps", "--force-reinstall", str(wheel)], "install the wheel")
        self._stamp("fork", wanted)

    def _build(self, *arguments: str) -> None:
        # Not captured: the build says on stderr what it fetches, and its one sentence on failure.
        command = [str(self.python), "-m", "dev.build", *arguments]
        if status := subprocess.run(command, cwd=ROOT, check=False).returncode:
            sys.exit(status)

    def _stamp(self, step: str, digest: str) -> None:
        self._stamps[step] = digest
        (self._path / _STAMPS).write_text(json.dumps(self._stamps, indent=1) + "\n")


def fork_inputs(root: Path, live: bool) -> Iterable[str | bytes]:
    """All that an installed fork depends on; of a file that is linked, only its name."""
    yield f"live={live}"
    paths = [root / name for name in _INPUTS if (root / name).is_file()]
    for folder in ("mlflow", "alembic", "dev/build"):
        paths += files_below(root / folder)
    for path in paths:
        name = path.relative_to(root).as_posix()
        yield name
        linked = live and path.suffix == ".py" and not name.startswith("dev/")
        if not linked:
            yield path.read_bytes()


def _digest(parts: Iterable[str | bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def _run(command: list[str], purpose: str) -> None:
    # A variable for another environment's packages must not reach this one.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        errors = [line for line in lines if line.upper().startswith("ERROR")] or lines[-1:]
        said = errors[-1].removeprefix("ERROR: ") if errors else f"exit status {done.returncode}"
        raise EnvironmentFailed(
            f"Could not {purpose} ({' '.join(command[1:3])}: {said.rstrip('.')}); "
            "see that a package index can be reached and that python3-venv is installed."
        )
