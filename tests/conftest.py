"""What holds for the whole session: what it says was not tested, and when it ends what hangs."""

import faulthandler
import os

import pytest

from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

# What runs by hand for minutes may wait for a slow machine, but not for ever either.
_LONG_SECONDS = 4 * 3600
_DATABASES = {"PostgreSQL": "TEST_POSTGRES_URI", "MySQL or MariaDB": "TEST_MYSQL_URI"}
_standard_error = pytest.StashKey[int]()


def pytest_configure(config):
    # Before a test's is captured.
    config.stash[_standard_error] = os.dup(2)
    config.addinivalue_line(
        "markers", "servers: starts whole servers, released ones too; slow, and needs their wheels"
    )
    config.addinivalue_line(
        "markers", "chaos: kills processes that share a database; minutes at most"
    )
    config.addinivalue_line(
        "markers", "long: whole fleets and benchmarks, for minutes; only with -m long"
    )


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.timeout(_LONG_SECONDS), append=False)


# In place of the plugin's own, which shows nothing where xdist's processes have no terminal.
@pytest.hookimpl(optionalhook=True)
def pytest_timeout_set_timer(item, settings):
    to = item.config.stash[_standard_error]
    faulthandler.dump_traceback_later(settings.timeout, exit=True, file=to)
    return True


@pytest.hookimpl(optionalhook=True)
def pytest_timeout_cancel_timer(item):
    faulthandler.cancel_dump_traceback_later()
    return True


def pytest_terminal_summary(terminalreporter):
    missing = [name for name, variable in _DATABASES.items() if os.environ.get(variable) == ""]
    for name in missing:
        terminalreporter.section(f"{name} WAS NOT TESTED: no server was to be had", red=True)
    skipped = terminalreporter.stats.get("skipped", [])
    if any("no Chromium was to be had" in str(report.longrepr) for report in skipped):
        terminalreporter.section("THE PAGES WERE NOT TESTED: no Chromium was to be had", red=True)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """A SQLite file with all tables and no rows, to be copied; to make one takes seconds."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    SqlAlchemyJobStore(f"sqlite:///{path}").engine.dispose()
    return path


@pytest.fixture(scope="module", autouse=True)
def _no_connections_are_left_open():
    """Or a whole run would have more files open than `select` takes."""
    yield
    for store in (SqlAlchemyJobStore, SqlAlchemyStore):
        for engine in [*store._engine_map.values()]:
            engine.dispose()
