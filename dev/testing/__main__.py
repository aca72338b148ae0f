"""Run pytest with every database that is to be had; `CI=true` makes a missing one a failure."""

import os
import subprocess
import sys

from dev.testing.databases import Database, databases


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
        return subprocess.run([sys.executable, "-m", "pytest", *sys.argv[1:]], env=env).returncode


def _describe(database: Database) -> str:
    if database.uri is None:
        return f"NOT AVAILABLE, its tests are skipped ({database.origin})"
    return f"{database.uri} ({database.origin})"


if __name__ == "__main__":
    sys.exit(main())
