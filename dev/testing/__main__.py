"""Run pytest with every database that is to be had; `CI=true` makes a missing one a failure."""

import os
import subprocess
import sys
from pathlib import Path

from dev.testing.databases import Database, databases

# Tests wait for processes and databases as long as they compute. The databases bear so many.
_PROCESSES = min((os.cpu_count() or 1) + 1, 8)


def main() -> int:
    """Returns pytest's exit code; its summary is the last thing printed."""
    with databases() as found:
        for database in found:
            print(f"{database.title}: {_describe(database)}", flush=True)
        missing = [database for database in found if database.uri is None]
        if missing and os.environ.get("CI", "").lower() in ("1", "true"):
            print("CI=true: every database must be there.", file=sys.stderr)
            return 2
        env = os.environ | {database.variable: database.uri or "" for database in found}
        return subprocess.run(_pytest(sys.argv[1:]), env=env).returncode


def _pytest(arguments: list[str]) -> list[str]:
    """The command; what is given there comes last, so that `-n 0` is one process after all."""
    names_files = any(Path(argument.partition("::")[0]).exists() for argument in arguments)
    # A file goes to one process, since its tests share servers; in order, since those of
    # tests/adoption take the longest.
    spread = [f"-n{_PROCESSES}", "--dist=loadfile", "--no-loadscope-reorder"]
    # A test that hangs ends its process; the next one begins with that test again.
    spread.append("--max-worker-restart=1")
    return [sys.executable, "-m", "pytest", *([] if names_files else spread), *arguments]


def _describe(database: Database) -> str:
    if database.uri is None:
        return f"NOT AVAILABLE, its tests are skipped ({database.origin})"
    return f"{database.uri} ({database.origin})"


if __name__ == "__main__":
    sys.exit(main())
