"""Real traces in a SQLite tracking database, and the process set up as a job process is."""

import json
import shutil

import pytest
from sqlalchemy import create_engine

import mlflow
from mlflow.genai.scorers.online import OnlineScorer, OnlineScoringConfig
from mlflow.server import handlers
from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR
from mlflow.store.db.utils import _initialize_tables
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore


@pytest.fixture(scope="session")
def empty_tracking_database(tmp_path_factory):
    path = tmp_path_factory.mktemp("scorers") / "empty.db"
    engine = create_engine(f"sqlite:///{path}")
    _initialize_tables(engine)
    engine.dispose()
    return path


@pytest.fixture
def store(empty_tracking_database, tmp_path, monkeypatch):
    """The tracking store of a job process on a server that allows custom scorers."""
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{shutil.copy(empty_tracking_database, tmp_path / 'mlflow.db')}"
    store = SqlAlchemyStore(uri, str(tmp_path / "artifacts"))
    monkeypatch.setenv(BACKEND_STORE_URI_ENV_VAR, uri)
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS", "true")
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
    monkeypatch.setenv("_MLFLOW_SERVER_BOOT_ID", "a server started this process")
    monkeypatch.setattr(handlers, "_tracking_store", store)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    yield store
    mlflow.set_tracking_uri(before)


@pytest.fixture
def experiment_id(store):
    return store.create_experiment("scored")


@pytest.fixture
def add_trace(store, experiment_id):
    def add(outputs, timestamp_ms=1_700_000_000_000, session_id=None):
        metadata = {"mlflow.trace.session": session_id} if session_id else None
        span = mlflow.start_span_no_context(
            "answer",
            inputs={"question": "?"},
            experiment_id=experiment_id,
            metadata=metadata,
            start_time_ns=timestamp_ms * 1_000_000,
        )
        span.set_outputs(outputs)
        span.end(end_time_ns=(timestamp_ms + 1) * 1_000_000)
        return span.trace_id

    return add


@pytest.fixture
def online(experiment_id):
    """An online scorer as discovery puts it into params."""

    def online(scorer, version=1, **config):
        return OnlineScorer(
            name=scorer.name,
            serialized_scorer=json.dumps(scorer.model_dump()),
            online_config=OnlineScoringConfig(
                online_scoring_config_id="config",
                scorer_id="scorer",
                experiment_id=experiment_id,
                **{"sample_rate": 1.0, **config},
            ),
            scorer_version=version,
        )

    return online


@pytest.fixture
def assessments_of(store):
    def assessments_of(trace_id):
        (trace,) = store.batch_get_traces([trace_id])
        return trace.info.assessments

    return assessments_of
