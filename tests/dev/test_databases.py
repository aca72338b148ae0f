"""The tests' databases: a named server is used or reported, and a missing one is never silent."""

import subprocess
import sys

import pytest

from dev.serving import clean_environment
from dev.testing.databases import databases

NOBODY_LISTENS = "mysql+pymysql://root@127.0.0.1:1/mysql"


def _run_tests(**env):
    command = [sys.executable, "-m", "dev.testing", "--version"]
    surroundings = clean_environment({"CI": "", "TEST_POSTGRES_URI": "sqlite://", **env})
    return subprocess.run(command, env=surroundings, capture_output=True, text=True)


def test_a_server_named_by_its_variable_is_the_one_that_is_used(monkeypatch):
    monkeypatch.setenv("TEST_POSTGRES_URI", "sqlite://")
    monkeypatch.setenv("TEST_MYSQL_URI", "sqlite:///:memory:")
    with databases() as found:
        assert [database.uri for database in found] == ["sqlite://", "sqlite:///:memory:"]


def test_a_named_server_that_refuses_is_reported_and_no_other_is_taken(monkeypatch):
    monkeypatch.setenv("TEST_POSTGRES_URI", "sqlite://")
    monkeypatch.setenv("TEST_MYSQL_URI", NOBODY_LISTENS)
    with databases() as (_, mariadb):
        assert mariadb.uri is None
        assert "TEST_MYSQL_URI" in mariadb.origin


@pytest.mark.parametrize("yes", ["true", "1"])
def test_a_missing_database_fails_a_run_of_ci_before_any_test(yes):
    done = _run_tests(TEST_MYSQL_URI=NOBODY_LISTENS, CI=yes)
    assert done.returncode == 2
    assert "MariaDB: NOT AVAILABLE" in done.stdout
    assert "pytest" not in done.stdout


def test_a_missing_database_is_said_at_home_and_the_rest_runs():
    done = _run_tests(TEST_MYSQL_URI=NOBODY_LISTENS)
    assert done.returncode == 0
    assert "MariaDB: NOT AVAILABLE" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("pytest")
