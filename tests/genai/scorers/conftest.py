"""Real traces and scorers as discovery names them."""

import json

import pytest

import mlflow
from mlflow.genai.scorers.online import OnlineScorer, OnlineScoringConfig


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
