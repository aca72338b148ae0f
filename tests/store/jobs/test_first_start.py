"""Servers that start at once on an empty database prepare it once, and all come up."""

import contextlib
import subprocess
import sys

import pytest
import sqlalchemy

from mlflow.store.jobs import schema
from mlflow.store.jobs.first_start import one_at_a_time
from tests.store.jobs.real_databases import KINDS, fresh_database

# What `mlflow server` does with its database before it serves.
SERVER = """
import sys
from mlflow.server.handlers import initialize_backend_stores
print("ready", flush=True)
sys.stdin.readline()
initialize_backend_stores(sys.argv[1], sys.argv[1], sys.argv[2])
"""
_SERVERS = 3


@pytest.fixture(params=KINDS)
def uri(request, tmp_path):
    with fresh_database(request.param, tmp_path) as uri:
        yield uri


def test_servers_that_start_at_once_on_an_empty_database_all_come_up(uri, tmp_path):
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", SERVER, uri, str(tmp_path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(_SERVERS)
        ]
        for server in servers:
            assert server.stdout.readline() == "ready\n"
        for server in servers:
            server.stdin.write("\n")
            server.stdin.flush()
        said = [server.communicate()[1] for server in servers]
    assert [server.returncode for server in servers] == [0] * _SERVERS, "\n".join(said)
    engine = sqlalchemy.create_engine(uri)
    schema.verify(engine)
    with engine.connect() as connection:
        names = connection.execute(sqlalchemy.text("SELECT name FROM experiments")).scalars().all()
    engine.dispose()
    assert names == ["Default"]


def test_a_failed_preparation_keeps_nobody_out(uri):
    with pytest.raises(ValueError, match="broken"), one_at_a_time(uri):
        raise ValueError("broken")
    with one_at_a_time(uri):
        pass


@pytest.mark.parametrize("uri", [None, "", "./mlruns", "http://127.0.0.1:1", "databricks"])
def test_what_is_no_database_is_not_waited_for(uri):
    with one_at_a_time(uri):
        pass
