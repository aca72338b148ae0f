"""On every database: a filter that can never be answered stops no scorer beside it."""

import logging
from itertools import count

import pytest
import sqlalchemy

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, INTERNAL_ERROR, TEMPORARILY_UNAVAILABLE
from mlflow.server.jobs.discovery.filter_faults import is_at_fault
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from tests.server.jobs.discovery.scenes import (
    BUFFER_MS,
    finish,
    make_discovery,
    params_of,
    schedule_judge,
)
from tests.store.jobs.real_databases import KINDS, fresh_database
from tests.tracking_databases import add_gateway_endpoints

NEVER_ANSWERED = {
    "sqlite": "tag.kind = 'a' AND trace.execution_time_ms > 99999999999999999999",
    "postgresql": "tag.kind RLIKE '['",
    "mysql": "tag.kind RLIKE '['",
}
numbers = count()


@pytest.fixture(scope="module", params=KINDS)
def database(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("filters")
    with fresh_database(request.param, folder) as uri:
        tracking, jobs = SqlAlchemyStore(uri, str(folder)), SqlAlchemyJobStore(uri)
        add_gateway_endpoints(tracking, "endpoint")
        yield tracking, jobs, NEVER_ANSWERED[request.param]
        tracking.engine.dispose()
        jobs.engine.dispose()


@pytest.mark.parametrize("level", ["trace", "session"])
def test_scorers_with_other_filters_go_on_and_the_reason_is_told_once(
    database, start_trace, level, caplog
):
    tracking, jobs, never_answered = database
    job_name = f"run_online_{level}_scorer"
    experiment_id = tracking.create_experiment(f"filtered {next(numbers)}")
    schedule_judge(tracking, experiment_id, "refused", 1.0, never_answered, level)
    schedule_judge(tracking, experiment_id, "sound", 1.0, "tag.kind = 'a'", level)
    end = jobs.now_ms() - BUFFER_MS
    term = jobs.acquire_scheduler_lease(f"filters {next(numbers)}", "me", ttl_seconds=86_400)
    discovery = make_discovery(tracking, jobs)

    def say(trace_id, session, at_ms):
        start_trace(
            tracking,
            experiment_id,
            at_ms,
            f"{trace_id}-{experiment_id}",
            tags={"kind": "a"},
            trace_metadata={"mlflow.trace.session": f"{session}-{experiment_id}"},
        )

    with caplog.at_level(logging.WARNING, logger="mlflow.server.jobs.discovery"):
        say("t1", "s1", end - 60_000)
        discovery.run(term)
        assert [each["scorers"] for each in _found(jobs, job_name, experiment_id)] == [["sound"]]
        finish(jobs, job_name)
        say("t2", "s2", end + 60_000)
        jobs.clock_offset_ms += BUFFER_MS
        discovery.run(term)
        jobs.clock_offset_ms -= BUFFER_MS

    found = _found(jobs, job_name, experiment_id)
    assert [each["scorers"] for each in found] == [["sound"], ["sound"]]
    assert len({str(each) for each in found}) == 2
    finish(jobs, job_name)
    (warning,) = [line for line in caplog.messages if "filter" in line]
    assert never_answered in warning


def _found(jobs, job_name, experiment_id):
    batches = [
        params["batch"]
        for params in params_of(jobs, job_name)
        if params["experiment_id"] == experiment_id
    ]
    return [entry for batch in batches for entry in batch]


def error_of(cause, code=BAD_REQUEST):
    try:
        raise MlflowException("failed", error_code=code) from cause
    except MlflowException as error:
        return error


def raised_by_driver(kind, *args):
    return kind("SELECT", {}, Exception(*args))


@pytest.mark.parametrize(
    "error",
    [
        error_of(
            raised_by_driver(sqlalchemy.exc.OperationalError, 2013, "Lost connection"),
            TEMPORARILY_UNAVAILABLE,
        ),
        error_of(raised_by_driver(sqlalchemy.exc.OperationalError), TEMPORARILY_UNAVAILABLE),
        error_of(raised_by_driver(sqlalchemy.exc.InterfaceError, "connection already closed")),
        error_of(raised_by_driver(sqlalchemy.exc.InternalError, "transaction is aborted")),
        error_of(sqlalchemy.exc.TimeoutError("no connection is free")),
        error_of(OSError("no such host"), INTERNAL_ERROR),
        error_of(None, INTERNAL_ERROR),
    ],
)
def test_what_may_be_over_soon_is_no_filters_fault(error):
    assert not is_at_fault(error, answers_without=lambda: None)


def test_what_fails_without_a_filter_too_is_no_filters_fault():
    error = error_of(raised_by_driver(sqlalchemy.exc.ProgrammingError, "no such table"))

    def fails():
        raise error

    assert is_at_fault(error, answers_without=lambda: None)
    assert not is_at_fault(error, answers_without=fails)
