"""Callers of 3.18's scheduler function still get a job per experiment and level."""

import json

import pytest

from mlflow.genai import scorer
from mlflow.genai.scorers import job as scorer_jobs


@scorer
def length(outputs) -> int:
    return len(outputs)


@scorer
def turns(session) -> int:
    return len(session)


@pytest.fixture
def submitted(monkeypatch):
    submissions = []
    monkeypatch.setattr(scorer_jobs, "submit_job", lambda *given: submissions.append(given))
    return submissions


def test_each_level_of_an_experiment_is_submitted_as_a_job_without_a_batch(
    store, experiment_id, submitted
):
    for custom_scorer in (length, turns):
        dumped = json.dumps(custom_scorer.model_dump())
        store.register_scorer(experiment_id, custom_scorer.name, dumped)
        store.upsert_online_scoring_config(experiment_id, custom_scorer.name, 1.0)

    scorer_jobs.run_online_scoring_scheduler()

    found = {
        function: (params["experiment_id"], [one["name"] for one in params["online_scorers"]])
        for function, params in submitted
    }
    assert found == {
        scorer_jobs.run_online_trace_scorer_job: (experiment_id, ["length"]),
        scorer_jobs.run_online_session_scorer_job: (experiment_id, ["turns"]),
    }
    assert all(params.keys() == {"experiment_id", "online_scorers"} for _, params in submitted)


def test_nothing_is_submitted_where_nothing_is_scheduled(store, experiment_id, submitted):
    scorer_jobs.run_online_scoring_scheduler()

    assert submitted == []
