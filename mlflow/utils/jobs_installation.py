"""Notice when this package's installed files were overwritten by mlflow-skinny or mlflow-tracing.

Both distributions carry files of the same names. Installed after this one they put stock files
over it, and the server would run without the job framework and without a word. The check is
reached through an entry point of this distribution, which stock files load as well, so it speaks
even when every file that could have called it was overwritten.
"""

import base64
import hashlib
import sys
from importlib import metadata
from pathlib import Path

_DISTRIBUTION = "mlflow"
_OVERLAPPING = ("mlflow-skinny", "mlflow-tracing")
_PROGRAMS = ("mlflow", "-m")
_SERVER_COMMANDS = {"server", "ui", "demo"}


class InstallationCheck:
    """A run context that is never entered; made once per process, it checks a server's start."""

    def __init__(self) -> None:
        program, *arguments = sys.argv or [""]
        if Path(program).stem in _PROGRAMS and _SERVER_COMMANDS.intersection(arguments):
            check_installation()

    def in_context(self) -> bool:
        return False

    def tags(self) -> dict[str, str]:
        return {}


def check_installation() -> None:
    """Stop the process when files of this package were overwritten.

    Raises:
        SystemExit: they were; the message names the cause and the commands that repair it.
    """
    culprits = [name for name in _OVERLAPPING if _version(name) is not None]
    if not culprits:
        return
    changed = overwritten_files(metadata.distribution(_DISTRIBUTION))
    if changed:
        fork = f"{_DISTRIBUTION}=={_version(_DISTRIBUTION)}"
        sys.exit(
            f"error: {len(changed)} files of {fork}, for example {changed[0]}, were overwritten by "
            f"{' and '.join(culprits)}. Repair it with: pip uninstall --yes "
            f"{' '.join(culprits)} && pip install --force-reinstall --no-deps "
            f"<wheel or source of {fork}>"
        )


def overwritten_files(distribution: metadata.Distribution) -> list[str]:
    """Files below mlflow/ that differ from what the distribution recorded of them, sorted.

    A file without a recorded digest, as in a developer's tree, differs from nothing.
    """
    changed = []
    for file in distribution.files or ():
        if file.hash is None or not str(file).startswith("mlflow/") or file.suffix == ".pyc":
            continue
        path = Path(distribution.locate_file(file))
        if not path.is_file() or _digest(path, file.hash.mode) != file.hash.value:
            changed.append(str(file))
    return sorted(changed)


def _digest(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, path.read_bytes()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
