"""Stock 3.18.0 and the fork open one database in turn, and each takes up what the other left."""

import sqlite3
from contextlib import closing

import pytest

from mlflow.entities._job_status import JobStatus
from tests.adoption.servers import fork_server, released_server, run_python, wait_for

pytestmark = pytest.mark.servers

_QUICK_LEASE = {"MLFLOW_SERVER_JOB_LEASE_TTL": "3"}
_EXECUTOR = {"MLFLOW_SERVER_JOB_EXECUTION_ENGINE": "executor"}


def _add(server, left, right):
    return server.wait_for_job(server.submit_job("adoption_add", {"left": left, "right": right}))


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """Four servers in turn on one database: stock on Huey, fork, stock on its executor, fork."""
    directory = tmp_path_factory.mktemp("history")
    seen = {}
    with released_server("3.18.0", directory) as stock:
        seen["stock 1"] = _add(stock, 1, 2)
    seen["head of stock"] = _rows(directory, "SELECT * FROM alembic_version")

    run_python(directory, "-m", "mlflow", "db", "upgrade", "sqlite:///mlflow.db")
    with fork_server(directory) as fork:
        seen["fork 1"] = _add(fork, 3, 4)
        seen["stock 1 by the fork"] = _job(fork, seen["stock 1"])

    started, released = directory / "started", directory / "released"
    with released_server("3.18.0", directory, _EXECUTOR | _QUICK_LEASE) as stock:
        seen["stock 2"] = _add(stock, 5, 6)
        seen["fork 1 by stock"] = _job(stock, seen["fork 1"])
        held = stock.submit_job(
            "adoption_hold", {"started": str(started), "released": str(released)}
        )
        wait_for(started.exists, "the start of the held job")
    seen["held as stock left it"] = _rows(directory, f"SELECT status FROM jobs WHERE id = '{held}'")
    released.touch()

    with fork_server(directory, _QUICK_LEASE) as fork:
        seen["held"] = fork.wait_for_job(held)
        seen["fork 2"] = _add(fork, 7, 8)
    seen["head at the end"] = _rows(directory, "SELECT * FROM alembic_version")
    return seen


def _rows(directory, query):
    with closing(sqlite3.connect(directory / "mlflow.db")) as database:
        return database.execute(query).fetchall()


def _job(server, job):
    return server.request("GET", f"/ajax-api/3.0/jobs/{job['job_id']}")[1]


def _as_stock_shows(answer):
    return {name: value for name, value in answer.items() if name != "crashes"}


@pytest.mark.parametrize(
    ("turn", "total"), [("stock 1", 3), ("fork 1", 7), ("stock 2", 11), ("fork 2", 15)]
)
def test_each_server_in_turn_runs_a_job(history, turn, total):
    assert (history[turn]["status"], history[turn]["result"]) == ("SUCCEEDED", total)


@pytest.mark.parametrize("turn", ["stock 1", "fork 1"])
def test_each_reads_the_finished_jobs_of_the_other(history, turn):
    reader = {"stock 1": "stock 1 by the fork", "fork 1": "fork 1 by stock"}[turn]
    assert _as_stock_shows(history[reader]) == _as_stock_shows(history[turn])


def test_a_job_that_stock_left_running_is_recovered_by_the_fork(history):
    assert history["held as stock left it"] == [(JobStatus.RUNNING.to_int(),)]
    assert (history["held"]["status"], history["held"]["result"]) == ("SUCCEEDED", "released")


def test_the_version_of_the_database_stays_the_one_that_stock_knows(history):
    assert history["head at the end"] == history["head of stock"]
