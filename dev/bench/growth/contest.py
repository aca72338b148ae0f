"""Group 3: what a claim costs as rows, workspaces and runners grow, or dead rows stay."""

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import sqlalchemy

from dev.bench.databases import Databases
from dev.bench.figures import Measured, percentile
from dev.bench.growth.rows import end, fill
from dev.bench.growth.work import BATCH, CAPPED, JOB, claim, create, work_off
from dev.bench.rounds import alternate, progress
from dev.bench.sizes import GrowthSizes
from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore


def contest(
    databases: Databases, kind: str, sizes: GrowthSizes, rounds: int
) -> dict[str, Measured]:
    """Measure each kind of growth; the columns of a table are its sizes."""
    grown = {
        "terminal rows": {
            f"{rows:,}": _loaded(databases, kind, sizes, _rows_of(rows, JobStatus.SUCCEEDED, JOB))
            for rows in sizes.rows
        },
        "pending rows of a capped type": {
            f"{rows:,}": _loaded(databases, kind, sizes, _rows_of(rows, JobStatus.PENDING, CAPPED))
            for rows in sizes.rows
        },
        "workspaces": {
            f"{workspaces:,}": _loaded(databases, kind, sizes, workspaces=workspaces)
            for workspaces in sizes.workspaces
        },
        "runners": {
            str(runners): lambda runners=runners: _beside(databases, kind, sizes, runners)
            for runners in sizes.runners
        },
        "a transaction that lasts": {
            f"{ended:,}, {name}": _loaded(databases, kind, sizes, _ended(ended), horizon_held=held)
            for ended in sizes.ended
            for name, held in (("none", False), ("open", True))
        },
    }
    measured = {}
    for title, contenders in grown.items():
        progress(f"{title} on {kind}")
        measured[title] = alternate(contenders, rounds)
    return measured


def _rows_of(count: int, status: JobStatus, job_name: str) -> Callable[[SqlAlchemyJobStore], None]:
    return lambda store: fill(store, count, status, job_name)


def _ended(count: int) -> Callable[[SqlAlchemyJobStore], None]:
    return lambda store: end(store, count, JOB)


def _loaded(
    databases: Databases,
    kind: str,
    sizes: GrowthSizes,
    load: Callable[[SqlAlchemyJobStore], None] = lambda store: None,
    workspaces: int = 1,
    horizon_held: bool = False,
) -> Callable[[], dict[str, float]]:
    def measure() -> dict[str, float]:
        with databases.empty(kind) as uri, _store(uri) as store:
            with _horizon(uri) if horizon_held else contextlib.nullcontext():
                load(store)
                return _claims(store, sizes, workspaces)

    return measure


def _claims(store: SqlAlchemyJobStore, sizes: GrowthSizes, workspaces: int) -> dict[str, float]:
    create(store, sizes.jobs, workspaces)
    began = time.perf_counter()
    ended, spent = work_off(store)
    seconds = time.perf_counter() - began
    idle = []
    for _ in range(50):
        asked = time.perf_counter()
        claim(store)
        idle.append(time.perf_counter() - asked)
    return {
        f"claim of {BATCH}, p50 ms": 1000 * statistics.median(spent),
        f"claim of {BATCH}, p99 ms": 1000 * percentile(spent, 99),
        "idle claim, p50 ms": 1000 * statistics.median(idle),
        "jobs/s": ended / seconds,
    }


def _beside(
    databases: Databases, kind: str, sizes: GrowthSizes, runners: int
) -> dict[str, float | None]:
    with databases.empty(kind) as uri:
        with _store(uri) as store:
            # More than all of them can work off.
            fill(store, int(20_000 * sizes.seconds), JobStatus.PENDING, JOB)
        working = [
            subprocess.Popen(
                [sys.executable, "-m", "dev.bench.growth.work", uri, str(sizes.seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for _ in range(runners)
        ]
        for each in working:
            each.stdout.readline()
        for each in working:
            each.stdin.close()
        ended = [int(each.stdout.readline()) for each in working]
        for each in working:
            each.wait(60)
    even = sum(ended) / runners
    return {
        "jobs/s of all": sum(ended) / sizes.seconds,
        "jobs/s of the least": min(ended) / sizes.seconds,
        "share of the least, 1 is even": min(ended) / even if even else None,
    }


@contextlib.contextmanager
def _store(uri: str) -> Iterator[SqlAlchemyJobStore]:
    store = SqlAlchemyJobStore(uri)
    try:
        yield store
    finally:
        store.engine.dispose()


@contextlib.contextmanager
def _horizon(uri: str) -> Iterator[None]:
    """A snapshot of now stays open, so that no dead row can be removed.

    On SQLite, so that nothing of the write-ahead log can be moved to the database.
    """
    on_sqlite = uri.startswith("sqlite")
    level = "AUTOCOMMIT" if on_sqlite else "REPEATABLE READ"
    engine = sqlalchemy.create_engine(uri, isolation_level=level)
    with engine.connect() as connection:
        if on_sqlite:
            # Its driver begins nothing for what only reads.
            connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql("SELECT count(*) FROM jobs")
        yield
        if on_sqlite:
            connection.exec_driver_sql("ROLLBACK")
    engine.dispose()
