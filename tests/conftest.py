"""What the whole session says of itself: which databases were not to be had."""

import os

_DATABASES = {"PostgreSQL": "TEST_POSTGRES_URI", "MySQL or MariaDB": "TEST_MYSQL_URI"}


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "servers: starts whole servers, released ones too; slow, and needs their wheels"
    )
    config.addinivalue_line(
        "markers", "chaos: kills processes that share a database; minutes at most"
    )


def pytest_terminal_summary(terminalreporter):
    missing = [name for name, variable in _DATABASES.items() if os.environ.get(variable) == ""]
    for name in missing:
        terminalreporter.section(f"{name} WAS NOT TESTED: no server was to be had", red=True)
