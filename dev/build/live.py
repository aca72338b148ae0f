"""The developer's tree: the built tree in site-packages, the project's own files as links."""

import configparser
import shutil
import sysconfig
from pathlib import Path

from dev.build.base import Tree, load_base
from dev.build.metadata import dist_info_files, dist_info_name
from dev.build.overlay import build_tree, own_files
from dev.build.project import ROOT, read_base
from dev.build.wheel import record


def link(site: Path, scripts: Path, python: str) -> None:
    """Put the fork into an environment, replacing whatever it holds of MLflow.

    Args:
        site: The environment's site-packages.
        scripts: Its folder of commands.
        python: Its interpreter, for the first line of a command.
    """
    base = read_base()
    base_tree = load_base(base)
    own = own_files(ROOT)
    tree = build_tree(base_tree, ROOT)
    metadata = dist_info_files(base, base_tree, ROOT)
    shutil.rmtree(site / "mlflow", ignore_errors=True)
    for dist_info in site.glob(f"{base.name}-*.dist-info"):
        shutil.rmtree(dist_info)
    for name, content in {**tree, **metadata}.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in own:
            path.symlink_to(own[name])
        else:
            path.write_bytes(content)
    entry_points = metadata[f"{dist_info_name(base)}/entry_points.txt"].decode()
    commands = _write_commands(entry_points, scripts, python)
    installed = {name: content for name, content in {**tree, **metadata}.items() if name not in own}
    _write_record(site / dist_info_name(base), installed, [*own, *commands])


def link_here() -> None:
    """Link into the environment that runs this."""
    paths = sysconfig.get_paths()
    python = Path(paths["scripts"], "python")
    link(Path(paths["purelib"]), Path(paths["scripts"]), str(python))


def _write_commands(entry_points: str, scripts: Path, python: str) -> list[str]:
    parser = configparser.ConfigParser()
    parser.optionxform = str
    parser.read_string(entry_points)
    written = []
    for name, target in parser["console_scripts"].items():
        module, _, function = target.partition(":")
        script = scripts / name
        script.write_text(
            f"#!{python}\nimport sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n"
        )
        script.chmod(0o755)
        written.append(str(script))
    return written


def _write_record(dist_info: Path, copied: Tree, bare: list[str]) -> None:
    # No digest stands beside a link: what it leads to changes with every edit.
    (dist_info / "INSTALLER").write_text("pip\n")
    lines = "".join(f"{name},,\n" for name in [*bare, f"{dist_info.name}/INSTALLER"])
    (dist_info / "RECORD").write_text(lines + record(copied, f"{dist_info.name}/RECORD"))
