"""What a fleet stands on: a database of its own that can be taken away, proxies, clocks, a disk."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy

from dev.chaos.proxy import Proxy
from dev.testing.databases import PrivateServer, mariadb_server, postgres_server

KINDS = ("postgresql", "mariadb", "sqlite")
CLOCK_SHIFT_HOURS = (0, 1, -1)

_DISK_MIB = 64
_FAKETIME = (
    "/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
)
_SHIFTED = Path(__file__).with_name("shifted_clock")
# What was committed outlives the crash of the server, though not that of the host.
_SURVIVES_A_CRASH = {
    "postgresql": ("-c", "synchronous_commit=on"),
    "mariadb": ("--innodb-flush-log-at-trx-commit=2",),
}


@dataclass
class Surroundings:
    """What the harness may take away.

    Attributes:
        kind: One of `KINDS`.
        uri: The database, as the harness reaches it.
        uris: The database, as each replica reaches it.
        server: The database's server; None for SQLite.
        proxies: What stands between each replica and the server; none for SQLite.
        disk: The folder of an SQLite file that can be filled up, or None.
        clocks: For each replica, the environment that shifts its clock.
        unavailable: What cannot be done on this host, and why.
    """

    kind: str
    uri: str
    uris: list[str]
    server: PrivateServer | None = None
    proxies: list[Proxy] = field(default_factory=list)
    disk: Path | None = None
    clocks: list[dict[str, str]] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def surroundings(kind: str, replicas: int, folder: Path) -> Iterator[Surroundings]:
    """Start all that a fleet of this kind stands on; it lasts as long as the context.

    Raises:
        NotStarted: There is no database server to be had.
    """
    with contextlib.ExitStack() as stack:
        if kind == "sqlite":
            yield stack.enter_context(_on_one_file(replicas, folder))
            return
        start = postgres_server if kind == "postgresql" else mariadb_server
        server = stack.enter_context(start(_SURVIVES_A_CRASH[kind]))
        url = sqlalchemy.make_url(server.uri)
        _create(url, "fleet")
        url = url.set(database="fleet")
        proxies = []
        for _ in range(replicas):
            proxies.append(Proxy(url.host, url.port))
            stack.callback(proxies[-1].stop)
        found = Surroundings(
            kind,
            url.render_as_string(hide_password=False),
            [url.set(port=proxy.port).render_as_string(hide_password=False) for proxy in proxies],
            server,
            proxies,
        )
        if library := _faketime():
            hours = [CLOCK_SHIFT_HOURS[each % len(CLOCK_SHIFT_HOURS)] for each in range(replicas)]
            found.clocks = [_shifted(library, each) for each in hours]
        else:
            found.unavailable["shift-clock"] = "libfaketime is not installed"
        yield found


def full_disk(disk: Path, seconds: float) -> None:
    """Leave no room on the disk of the database for so long."""
    filler = disk / "filler"
    deadline = time.monotonic() + seconds
    chunk = bytes(1024 * 1024)
    try:
        with filler.open("wb", buffering=0) as file:
            while time.monotonic() < deadline:
                try:
                    file.write(chunk)
                except OSError:
                    chunk = bytes(512)
                    time.sleep(0.01)
    finally:
        filler.unlink(missing_ok=True)


@contextlib.contextmanager
def _on_one_file(replicas: int, folder: Path) -> Iterator[Surroundings]:
    disk = folder / "disk"
    disk.mkdir()
    uri = f"sqlite:///{disk}/fleet.db"
    found = Surroundings("sqlite", uri, [uri] * replicas)
    found.unavailable["shift-clock"] = "the clock of an SQLite database is that of its host"
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MIB}m", "tmpfs", str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        problem = done.stderr.strip() if done.returncode else None
    except OSError as error:
        problem = str(error)
    if problem is None:
        found.disk = disk
    else:
        found.unavailable["fill-disk"] = f"no small disk can be mounted: {problem}"
    try:
        yield found
    finally:
        if found.disk:
            # Lazily: a process that is about to end may still have a file there.
            subprocess.run(["umount", "--lazy", str(disk)], check=False)


def _create(url: sqlalchemy.URL, name: str) -> None:
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
    finally:
        engine.dispose()


def _faketime() -> str | None:
    machine = os.uname().machine
    names = (each.format(machine=machine) for each in _FAKETIME)
    return next((name for name in names if Path(name).exists()), None)


def _shifted(library: str, hours: int) -> dict[str, str]:
    if hours == 0:
        return {}
    # The time that leases are trusted by, and that of the effect log, is the host's uptime.
    return {
        "LD_PRELOAD": library,
        "FAKETIME": f"{hours:+d}h",
        "PYTHONPATH": str(_SHIFTED),
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
