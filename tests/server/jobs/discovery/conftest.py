"""A tracking database with traces that nothing had to be run for."""

import json

import pytest

from mlflow.entities import (
    ExperimentTag,
    TraceInfo,
    TraceLocation,
    TraceState,
)
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from tests.server.jobs.discovery.scenes import BUFFER_MS, TAG, make_discovery, schedule_judge
from tests.tracking_databases import add_gateway_endpoints, as_job_process, copy_of


@pytest.fixture(scope="session")
def database_with_endpoint(empty_database, tmp_path_factory):
    """A SQLite file with a gateway endpoint, to be copied."""
    folder = tmp_path_factory.mktemp("discovery")
    store = SqlAlchemyStore(copy_of(empty_database, folder), str(folder))
    add_gateway_endpoints(store, "endpoint")
    store.engine.dispose()
    return folder / "mlflow.db"


@pytest.fixture
def database_uri(database_with_endpoint, tmp_path):
    return copy_of(database_with_endpoint, tmp_path)


@pytest.fixture
def tracked(tracking_store, database_uri):
    """This process as a job process: it logs to the database that the stores read."""
    with as_job_process(tracking_store, database_uri):
        yield tracking_store


@pytest.fixture
def tracking_store(database_uri, tmp_path):
    return SqlAlchemyStore(database_uri, str(tmp_path / "artifacts"))


@pytest.fixture
def job_store(database_uri):
    return SqlAlchemyJobStore(database_uri)


@pytest.fixture
def experiment_id(tracking_store):
    return tracking_store.create_experiment("scored")


@pytest.fixture
def add_trace(tracking_store, experiment_id):
    def add(timestamp_ms, trace_id, experiment_id=experiment_id, **fields):
        return start_trace(tracking_store, experiment_id, timestamp_ms, trace_id, **fields)

    return add


@pytest.fixture(name="start_trace")
def trace_starter():
    return start_trace


def start_trace(store, experiment_id, timestamp_ms, trace_id, **fields):
    info = TraceInfo(
        trace_id=trace_id,
        trace_location=TraceLocation.from_experiment_id(experiment_id),
        request_time=timestamp_ms,
        execution_duration=1,
        state=TraceState.OK,
        **fields,
    )
    store.start_trace(info)
    return trace_id


@pytest.fixture
def term(job_store):
    return job_store.acquire_scheduler_lease("scheduler", "me", ttl_seconds=86_400)


@pytest.fixture
def window_end(job_store):
    """Traces before this are due; some minutes of a test's own time do not matter."""
    return job_store.now_ms() - BUFFER_MS


@pytest.fixture
def discovery(tracking_store, job_store):
    return make_discovery(tracking_store, job_store)


@pytest.fixture
def schedule(tracking_store, experiment_id):
    def schedule(name="polite", rate=1.0, filter_string=None, to=experiment_id, level="trace"):
        return schedule_judge(tracking_store, to, name, rate, filter_string, level)

    return schedule


@pytest.fixture
def set_checkpoint(tracking_store, experiment_id):
    def set_checkpoint(timestamp_ms, trace_id=None):
        value = json.dumps({"timestamp_ms": timestamp_ms, "trace_id": trace_id})
        tracking_store.set_experiment_tag(experiment_id, ExperimentTag(TAG, value))

    return set_checkpoint
