"""The dist-info of the fork: the base's, with its own version, requirements and description."""

from pathlib import Path

from dev.build.base import Tree
from dev.build.project import Base, read_requirements

_SELF_CHECK = "jobs-installation = mlflow.utils.jobs_installation:InstallationCheck"
# Stock files of the split load this group too, so the check survives being overwritten by them.
_SELF_CHECK_GROUP = "mlflow.run_context_provider"


def dist_info_name(base: Base) -> str:
    """The folder that holds the fork's metadata."""
    return f"{base.name}-{base.fork_version}.dist-info"


def dist_info_files(base: Base, base_tree: Tree, root: Path) -> Tree:
    """The metadata files of the fork, all but RECORD, by archive path."""
    folder = dist_info_name(base)

    def of_base(name: str) -> str:
        return base_tree[f"{base.dist_info}/{name}"].decode()

    readme = root / "README.md"
    files = {
        "METADATA": fork_metadata(
            of_base("METADATA"),
            version=base.fork_version,
            requirements=read_requirements(root),
            description=readme.read_text() if readme.is_file() else "",
        ),
        "WHEEL": "Wheel-Version: 1.0\nGenerator: mlflow-jobs\n"
        "Root-Is-Purelib: true\nTag: py3-none-any\n",
        "entry_points.txt": f"{of_base('entry_points.txt').rstrip()}\n\n"
        f"[{_SELF_CHECK_GROUP}]\n{_SELF_CHECK}\n",
        "top_level.txt": of_base("top_level.txt"),
        "licenses/LICENSE.txt": (root / "LICENSE").read_text(),
    }
    return {f"{folder}/{name}": text.encode() for name, text in files.items()}


def fork_metadata(base: str, version: str, requirements: list[str], description: str) -> str:
    """The base's METADATA with three fields of its own; extras and all else stay word for word."""
    header, _, _ = base.partition("\n\n")
    lines: list[str] = []
    for line in header.splitlines():
        if line.startswith("Version: "):
            lines.append(f"Version: {version}")
        elif line.startswith("Requires-Dist: ") and "extra ==" not in line:
            continue
        elif line.startswith("Provides-Extra: ") and requirements:
            lines += [f"Requires-Dist: {requirement}" for requirement in requirements]
            requirements = []
            lines.append(line)
        else:
            lines.append(line)
    return "\n".join(lines) + f"\n\n{description}"
