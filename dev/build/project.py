"""Where the parts of the project lie, and what it is called."""

import re
from dataclasses import dataclass
from pathlib import Path

from dev.build.errors import BuildError

ROOT = Path(__file__).resolve().parents[2]

# Counts the fork's releases on one base. mlflow.version.VERSION stays the base's.
LABEL = "jobs.1"

_PIN = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>\S+)\s+--hash=sha256:(?P<sha256>[0-9a-f]{64})$")
_LEFTOVERS = {"__pycache__", ".ruff_cache", ".pytest_cache"}


@dataclass(frozen=True)
class Base:
    """The one release that the fork is laid over."""

    name: str
    version: str
    sha256: str

    @property
    def wheel_name(self) -> str:
        return f"{self.name}-{self.version}-py3-none-any.whl"

    @property
    def dist_info(self) -> str:
        return f"{self.name}-{self.version}.dist-info"

    @property
    def fork_version(self) -> str:
        return f"{self.version}+{LABEL}"


def read_base(root: Path = ROOT) -> Base:
    """Read the base's pin. Raises BuildError when the file is not one pinned requirement."""
    pin = _PIN.match((root / "base.txt").read_text().strip())
    if pin is None:
        raise BuildError("base.txt must be one line: NAME==VERSION --hash=sha256:HEX.")
    return Base(**pin.groupdict())


def read_requirements(root: Path = ROOT) -> list[str]:
    """What the built distribution requires, in the order of requirements.txt."""
    lines = (line.strip() for line in (root / "requirements.txt").read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def files_below(folder: Path) -> list[Path]:
    """Every source file below a folder, sorted; caches, hidden files and links are left out."""
    if not folder.is_dir():
        return []
    found = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part in _LEFTOVERS for part in parts)
        if path.is_file() and not hidden and path.suffix != ".pyc":
            found.append(path)
    return found
