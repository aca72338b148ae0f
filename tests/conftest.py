"""What the whole session says of itself: what was not to be had, and so was not tested."""

import os

import pytest

from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

_DATABASES = {"PostgreSQL": "TEST_POSTGRES_URI", "MySQL or MariaDB": "TEST_MYSQL_URI"}


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "servers: starts whole servers, released ones too; slow, and needs their wheels"
    )
    config.addinivalue_line(
        "markers", "chaos: kills processes that share a database; minutes at most"
    )
    config.addinivalue_line(
        "markers", "long: whole fleets, browsers and benchmarks, for minutes; only with -m long"
    )


def pytest_terminal_summary(terminalreporter):
    missing = [name for name, variable in _DATABASES.items() if os.environ.get(variable) == ""]
    for name in missing:
        terminalreporter.section(f"{name} WAS NOT TESTED: no server was to be had", red=True)
    skipped = terminalreporter.stats.get("skipped", [])
    if any("no Chromium was to be had" in str(report.longrepr) for report in skipped):
        terminalreporter.section("THE PAGES WERE NOT TESTED: no Chromium was to be had", red=True)


@pytest.fixture(scope="module", autouse=True)
def _no_connections_are_left_open():
    """Or a whole run would have more files open than `select` takes."""
    yield
    for store in (SqlAlchemyJobStore, SqlAlchemyStore):
        for engine in [*store._engine_map.values()]:
            engine.dispose()
