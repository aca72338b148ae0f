"""The build backend that pip, build and uv call, as named in pyproject.toml."""

import gzip
import io
import sys
import tarfile
from collections.abc import Callable
from functools import wraps
from pathlib import Path

from dev.build.base import load_base
from dev.build.errors import BuildError
from dev.build.metadata import dist_info_files, dist_info_name
from dev.build.overlay import build_tree
from dev.build.project import ROOT, files_below, read_base
from dev.build.wheel import wheel_name, write_wheel

# What an sdist needs to become a wheel, to be tested and to be read.
_SOURCES = ("mlflow", "alembic", "dev", "tests")


def _one_sentence_on_failure(hook: Callable) -> Callable:
    # A front end prints what a hook prints: the sentence, without a traceback below it.
    @wraps(hook)
    def guarded(*args, **kwargs):
        try:
            return hook(*args, **kwargs)
        except BuildError as error:
            sys.exit(f"error: {error}")

    return guarded


@_one_sentence_on_failure
def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    """PEP 517: write the dist-info folder only."""
    base = read_base()
    for name, content in dist_info_files(base, load_base(base), ROOT).items():
        path = Path(metadata_directory, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return dist_info_name(base)


@_one_sentence_on_failure
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """PEP 517: build the fork's wheel."""
    base = read_base()
    base_tree = load_base(base)
    files = {**build_tree(base_tree, ROOT), **dist_info_files(base, base_tree, ROOT)}
    write_wheel(Path(wheel_directory, wheel_name(base)), files, dist_info_name(base))
    return wheel_name(base)


@_one_sentence_on_failure
def build_sdist(sdist_directory, config_settings=None):
    """PEP 517: pack the project's sources; the base is fetched again when a wheel is built."""
    base = read_base()
    name = f"{base.name}-{base.fork_version}"
    metadata = dist_info_files(base, load_base(base), ROOT)[f"{dist_info_name(base)}/METADATA"]
    packed = {"PKG-INFO": (metadata, 0o644)}
    for path in _source_files():
        mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
        packed[path.relative_to(ROOT).as_posix()] = (path.read_bytes(), mode)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in sorted(packed):
            content, mode = packed[member]
            entry = tarfile.TarInfo(f"{name}/{member}")
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    target = Path(sdist_directory, f"{name}.tar.gz")
    target.write_bytes(gzip.compress(archive.getvalue(), mtime=0))
    return target.name


@_one_sentence_on_failure
def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    """PEP 660: refused, since most of the package is not in this repository."""
    raise BuildError(
        "An editable install is not offered, because most of the package is the base's; "
        "run dev/develop for an environment in which edits under mlflow/ are live."
    )


def _source_files() -> list[Path]:
    top = [path for path in sorted(ROOT.iterdir()) if path.is_file() and path.name[0] != "."]
    return top + [path for folder in _SOURCES for path in files_below(ROOT / folder)]
