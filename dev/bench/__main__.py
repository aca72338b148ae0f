"""Measure this framework beside stock MLflow 3.18.0 and other queues, in one run.

Each group takes its contenders in turn, round after round, and prints medians and ranges as a
table; --json adds every single value. A full run takes hours; --quick shows within minutes that all
works, with figures that mean nothing.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.bench.databases import Databases, databases
from dev.bench.figures import Measured, summary, table
from dev.bench.peers import PEERS, PeerEnvironment
from dev.bench.rounds import progress
from dev.bench.sizes import QUICK, Sizes

KINDS = ("postgresql", "sqlite")


@dataclass(frozen=True)
class Run:
    """What all groups are given."""

    databases: Databases
    peers: PeerEnvironment
    sizes: Sizes
    rounds: int
    kinds: tuple[str, ...]
    only: list[str] | None


def measure_servers(run: Run) -> dict[str, Measured]:
    # What measures a group is imported only then; `sizes` says why.
    from dev.bench.servers import contest

    return {
        f"Servers on {kind}": contest.contest(
            run.databases, kind, run.sizes.servers, run.rounds, run.only
        )
        for kind in run.kinds
    }


def measure_core(run: Run) -> dict[str, Measured]:
    from dev.bench.core import contest

    return {
        f"Queue core on {kind}": contest.contest(
            run.databases, run.peers, kind, run.sizes.core, run.rounds, run.only
        )
        for kind in run.kinds
    }


def measure_growth(run: Run) -> dict[str, Measured]:
    from dev.bench.growth import contest

    return {
        f"Growth on {kind}: {title}": measured
        for kind in run.kinds
        for title, measured in contest.contest(
            run.databases, kind, run.sizes.growth, run.rounds
        ).items()
    }


def measure_recovery(run: Run) -> dict[str, Measured]:
    from dev.bench.recovery import contest

    return {
        f"Recovery on {kind}": contest.contest(
            run.databases, kind, run.sizes.recovery, run.rounds, run.only
        )
        for kind in run.kinds
    }


def measure_scoring(run: Run) -> dict[str, Measured]:
    from dev.bench.scoring import contest

    return {
        f"Online scoring on {kind}: {title}": measured
        for kind in run.kinds
        for title, measured in contest.contest(
            run.databases, kind, run.sizes.scoring, run.rounds, run.only
        ).items()
    }


GROUPS: dict[str, Callable[[Run], dict[str, Measured]]] = {
    "servers": measure_servers,
    "core": measure_core,
    "growth": measure_growth,
    "recovery": measure_recovery,
    "scoring": measure_scoring,
}


def main() -> int:
    """Prints a table for each group, and writes JSON on request."""
    options = _options()
    began = time.time()
    titles: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory(prefix="mlflow-bench-") as name:
        peers = PeerEnvironment(options.peers or Path(name) / "peers")
        with databases(Path(name), durable=not options.no_fsync) as made:
            run = Run(
                made,
                peers,
                QUICK if options.quick else Sizes(),
                options.rounds,
                tuple(options.on),
                options.only,
            )
            for group in options.groups:
                measured = GROUPS[group](run)
                titles |= measured
                for title, figures in measured.items():
                    print(table(title, figures), flush=True)
                if options.json:
                    report = _report(options, began, peers, titles)
                    options.json.write_text(json.dumps(report, indent=2) + "\n")
    progress(f"{(time.time() - began) / 60:.0f} minutes")
    return 0


def _report(
    options: argparse.Namespace, began: float, peers: PeerEnvironment, titles: dict[str, Measured]
) -> dict[str, Any]:
    return {
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load at the end": os.getloadavg(),
        "quick": options.quick,
        "fsync": not options.no_fsync,
        "peers": peers.versions(PEERS.values()),
        "groups": {title: summary(measured) for title, measured in titles.items()},
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="dev/measure",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "groups", nargs="*", metavar="GROUP", help=f"{', '.join(GROUPS)}; all unless given"
    )
    parser.add_argument("--on", nargs="+", choices=KINDS, default=[*KINDS], help="databases (both)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these contenders alone")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works")
    parser.add_argument("--json", type=Path, help="also write all values to this file")
    parser.add_argument("--peers", type=Path, help="keep the environment of the peers here")
    parser.add_argument(
        "--no-fsync", action="store_true", help="let PostgreSQL lose data at a power failure"
    )
    options = parser.parse_args()
    unknown = [each for each in options.groups if each not in GROUPS]
    if unknown:
        parser.error(f"there is no group {unknown[0]!r}")
    options.groups = options.groups or [*GROUPS]
    return options


if __name__ == "__main__":
    sys.exit(main())
