"""A folder with litellm, which most servers lack, for processes that get it by PYTHONPATH."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from dev.build.project import ROOT
from dev.serving import clean_environment

_PINNED = ROOT / "dev" / "litellm.txt"


class LitellmUnavailable(RuntimeError):
    """litellm was never installed here, and no index has it."""


def litellm_folder() -> Path:
    """Returns the folder; what `dev/litellm.txt` pins is installed into it once.

    Raises:
        LitellmUnavailable: It cannot be installed.
    """
    made_from = hashlib.sha256(sys.version.encode() + _PINNED.read_bytes()).hexdigest()
    folder = ROOT / "build" / f"litellm-{made_from[:16]}"
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            installed = Path(scratch) / "installed"
            _install(installed)
            try:
                installed.rename(folder)
            except OSError:
                # Another process was quicker.
                if not folder.exists():
                    raise
                shutil.rmtree(installed)
    return folder


def _install(target: Path) -> None:
    pip = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"),
            *("--only-binary", ":all:", "--target", str(target), "--requirement", str(_PINNED)),
        ],
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    if pip.returncode:
        reason = (pip.stderr.strip() or "no reason is given").splitlines()[-1]
        raise LitellmUnavailable(f"litellm cannot be installed: {reason}")
