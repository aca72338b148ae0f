"""What keeps threads or connections of its own works in a job that is forked."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import sqlalchemy

from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR
from mlflow.server.jobs.local.forking import Forking
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from tests.server.jobs.local.forked_results import result_of
from tests.store.jobs.real_databases import fresh_database
from tests.tracking_databases import copy_of

pytestmark = pytest.mark.skipif(not Forking.is_possible(), reason="needs Linux")

JOBS = "library_jobs"
_HERE = Path(__file__).parent
_PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("libraries")


@pytest.fixture(scope="module")
def store(empty_database, folder):
    return SqlAlchemyStore(copy_of(empty_database, folder), str(folder / "artifacts"))


@pytest.fixture(scope="module")
def operators(folder):
    """A database of the operator's own."""
    with fresh_database("postgresql", folder) as uri:
        engine = sqlalchemy.create_engine(uri)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE seen (pid int)")
        engine.dispose()
        yield uri


@pytest.fixture(scope="module")
def surroundings(store, operators, folder):
    """The environment of a runner whose telemetry is on, and whose traces are logged as usual."""
    others = dict(os.environ)
    for name in ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING"):
        others.pop(name, None)
    (settings := folder / "settings").write_text(operators)
    return {
        **others,
        "HOME": str(folder),
        "PYTHONPATH": str(_HERE),
        "_MLFLOW_TESTING_TELEMETRY": "true",
        "_MLFLOW_SUPPORTED_JOB_FUNCTION_LIST": f"{JOBS}.trace",
        BACKEND_STORE_URI_ENV_VAR: str(store.engine.url),
        "OPERATORS_DATABASE": operators,
        "OPERATORS_SETTINGS": str(settings),
    }


@pytest.fixture(scope="module")
def shared(start):
    forks = start()
    forks.wait_until_warm(None)
    return forks


@pytest.fixture
def ingestion():
    """An address that takes telemetry, and the bodies that it was sent."""
    taken = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="ingestion", daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", taken
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_trace_that_is_logged_on_threads_is_whole_when_the_job_has_ended(shared, run, store):
    experiment_id = store.create_experiment("traced")

    told, code = run(shared, "trace", {"spans": 50}, MLFLOW_EXPERIMENT_ID=experiment_id)

    assert code == 0
    assert told["imported_by"] == shared._server.pid
    # One of them starts the others when it has something to log.
    assert set(told["threads"]) & {"OtelBatchSpanRecordProcessor", "MLflowTraceLoggingConsumer"}
    (trace,) = store.batch_get_traces([told["trace"]])
    assert trace.info.experiment_id == experiment_id
    assert len(trace.data.spans) == 51
    steps = [span for span in trace.data.spans if span.name.startswith("step")]
    assert all(span.outputs == {"text": "y" * 10_000} for span in steps)


def test_telemetry_is_sent_by_threads_of_a_client_of_the_jobs_own(shared, run, ingestion):
    url, taken = ingestion

    told, code = run(shared, "tell", {"ingestion_url": url})

    assert code == 0
    assert told["imported_by"] == shared._server.pid
    assert told["is_in_parent"]
    assert told["is_own"]
    assert any("TelemetryConsumer" in name for name in told["threads"])
    events = [record["data"]["event_name"] for body in taken for record in body["records"]]
    assert events.count("from_a_job") == 1


@pytest.mark.parametrize(
    ("module", "is_shared"),
    [("connects when asked", True), ("connects", False), ("reads the environment", False)],
)
def test_jobs_have_connections_of_their_own_from_an_engine_of_the_operators_module(
    start, environment, operators, tmp_path, module, is_shared
):
    forks = start(OPERATORS_MODULE=module)
    forks.wait_until_warm(None)
    (meeting := tmp_path / "meeting").mkdir()
    params = {"folder": str(meeting), "others": 1}
    envs = [environment("ask", params, OPERATORS_MODULE=module) for _ in range(2)]

    groups = [forks.fork(env) for env in envs]

    for group in groups:
        assert group.wait(_PATIENCE_SECONDS)
        assert group.end() == 0
        group.stderr.close()
    told = [result_of(env) for env in envs]
    assert [each["imported_by"] != each["pid"] for each in told] == [is_shared] * 2
    served_by = {each["served_by"] for each in told}
    assert len(served_by) == 2
    assert seen_in(operators) >= served_by


def seen_in(uri):
    engine = sqlalchemy.create_engine(uri)
    with engine.connect() as connection:
        seen = {*connection.exec_driver_sql("SELECT pid FROM seen").scalars()}
    engine.dispose()
    return seen
