#!/usr/bin/env python3
"""Write the project as a series of patches that `git am` applies on the pristine base tree.

usage: dev/export_series.py FOLDER
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dev.build.environment import ensure_tools
from dev.build.project import ROOT


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip().splitlines()[-1])
    folder = Path(sys.argv[1]).absolute()
    python = ensure_tools(ROOT / "build" / "tools-env")
    sys.exit(subprocess.call([python, "-m", "dev.build", "series", folder], cwd=ROOT))


if __name__ == "__main__":
    main()
