"""Job functions that use what the warm parent made as it imported this module or MLflow."""

import os
import threading
import time
from pathlib import Path

import sqlalchemy

import mlflow
from mlflow.server.jobs.functions import job
from mlflow.telemetry.client import get_telemetry_client
from mlflow.telemetry.schemas import Record, Status, TelemetryConfig

FOREVER_SECONDS = 60
IMPORTED_BY = os.getpid()
IMPORTED_CLIENT = get_telemetry_client()
OPERATORS_MODULE = os.environ.get("OPERATORS_MODULE")
if OPERATORS_MODULE == "reads the environment":
    ENGINE = sqlalchemy.create_engine(os.environ["OPERATORS_DATABASE"])
else:
    ENGINE = sqlalchemy.create_engine(Path(os.environ["OPERATORS_SETTINGS"]).read_text())
if OPERATORS_MODULE == "connects":
    ENGINE.connect().close()


@job(name="library_trace", max_workers=2)
def trace(spans):
    """Leaves a trace to whoever ends this process."""
    with mlflow.start_span("question") as root:
        for number in range(spans):
            with mlflow.start_span(f"step {number}") as step:
                step.set_outputs({"text": "y" * 10_000})
        root.set_outputs("answer")
    return {**_circumstances(), "trace": root.trace_id}


@job(name="library_telemetry", max_workers=2)
def tell(ingestion_url):
    """Tells of one event, to an address that the vendor's configuration would name."""
    client = get_telemetry_client()
    config = TelemetryConfig(ingestion_url=ingestion_url, disable_events=set())
    client._get_config = lambda: setattr(client, "config", config)
    client.add_record(Record("from_a_job", 0, status=Status.SUCCESS))
    return {
        **_circumstances(),
        "is_own": client is not IMPORTED_CLIENT,
        "is_in_parent": IMPORTED_CLIENT is not None,
    }


@job(name="library_engine", max_workers=2)
def ask(folder, others):
    """Uses a connection at the same time as so many other jobs do."""
    with ENGINE.begin() as connection:
        served_by = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        _meet(Path(folder), others)
        connection.exec_driver_sql("INSERT INTO seen VALUES (pg_backend_pid())")
    return {**_circumstances(), "served_by": served_by}


def _circumstances():
    threads = sorted(thread.name for thread in threading.enumerate())
    return {"imported_by": IMPORTED_BY, "pid": os.getpid(), "threads": threads}


def _meet(folder, others):
    (folder / str(os.getpid())).touch()
    deadline = time.monotonic() + FOREVER_SECONDS
    while len(os.listdir(folder)) <= others and time.monotonic() < deadline:
        time.sleep(0.02)
