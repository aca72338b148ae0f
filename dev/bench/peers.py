"""A throw-away environment with the queues that this one is compared with."""

import subprocess
import sys
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dev.bench.rounds import progress


@dataclass(frozen=True)
class Peer:
    """One contender of the queue core.

    Attributes:
        module: Below `dev.bench.core`; the same file for each database.
        requirements: What its environment needs; none for our own.
        databases: Which kinds it runs on.
        concurrency: How many jobs it may have under way at once.
    """

    module: str
    requirements: tuple[str, ...] = ()
    databases: tuple[str, ...] = ("postgresql",)
    concurrency: int = 10


_PSYCOPG = "psycopg[binary,pool]>=3.2"
_PGQUEUER = ("pgqueuer", "asyncpg")

PEERS = {
    "ours": Peer("ours", databases=("postgresql", "sqlite")),
    "PgQueuer": Peer("pgqueuer_queue", _PGQUEUER),
    "Procrastinate": Peer("procrastinate_queue", ("procrastinate", _PSYCOPG)),
    "Huey": Peer("huey_queue", ("huey", "peewee", "psycopg2-binary"), ("postgresql", "sqlite")),
    "Chancy": Peer("chancy_queue", ("chancy", _PSYCOPG)),
    "oban-py": Peer("oban_queue", ("oban", _PSYCOPG)),
    # PgQueuer takes half its slots at once: with 20 it asks the database as seldom as ours with 10.
    "ours, 20": Peer("ours", concurrency=20),
    "PgQueuer, 20": Peer("pgqueuer_queue", _PGQUEUER, concurrency=20),
    "raw loop": Peer("raw_loop", (_PSYCOPG,)),
    "raw loop, 50": Peer("raw_batches", (_PSYCOPG,)),
}


class PeerEnvironment:
    """An environment below a directory, kept between runs if the directory is."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._python = directory / "bin" / "python"

    def python_of(self, peer: Peer) -> str | None:
        """The interpreter that has the peer; None when it cannot be installed here."""
        if not peer.requirements:
            return sys.executable
        if not self._python.exists():
            venv.create(self._directory, with_pip=True)
        install = [str(self._python), "-m", "pip", "install", "--quiet", *peer.requirements]
        done = subprocess.run(install, capture_output=True, text=True)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            progress(f"{peer.module} is left out: {' '.join(lines) or done.stderr[-300:]}")
            return None
        return str(self._python)

    def versions(self, peers: Iterable[Peer]) -> dict[str, str]:
        """Package -> version, of what these peers asked for."""
        names = {
            requirement.split("[")[0].split(">")[0]
            for peer in peers
            for requirement in peer.requirements
        }
        if not names or not self._python.exists():
            return {}
        listed = subprocess.run(
            [str(self._python), "-m", "pip", "list", "--format=freeze"],
            capture_output=True,
            text=True,
        )
        pairs = (line.partition("==") for line in listed.stdout.splitlines())
        return {name: version for name, _, version in pairs if name in names}
