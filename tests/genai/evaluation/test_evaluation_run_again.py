"""An evaluation that another runner runs again leaves what one attempt would have left."""

import json
import threading
from itertools import count

import pytest

import mlflow
from mlflow.client import MlflowClient
from mlflow.entities import AssessmentSource, AssessmentSourceType, Feedback
from mlflow.environment_variables import _MLFLOW_SERVER_JOB_ID
from mlflow.genai import scorer
from mlflow.genai.evaluation.job import invoke_genai_evaluate_job
from mlflow.tracing.constant import AssessmentMetadataKey, TraceMetadataKey
from mlflow.utils.mlflow_tags import MLFLOW_GENAI_EVALUATE_JOB_ID

QUESTIONS = 5


@scorer
def length(outputs) -> int:
    return len(outputs)


@scorer
def traced(outputs) -> int:
    import mlflow

    with mlflow.start_span("asked by the scorer"):
        return len(outputs)


@scorer
def already_said(trace) -> int:
    return len(trace.info.assessments)


@pytest.fixture
def experiment_id(store):
    return store.create_experiment("evaluated")


@pytest.fixture
def trace_ids(experiment_id):
    ids = []
    for number in range(QUESTIONS):
        span = mlflow.start_span_no_context(
            "answer", inputs={"q": number}, experiment_id=experiment_id
        )
        span.set_outputs("yes")
        span.end()
        ids.append(span.trace_id)
    return ids


@pytest.fixture
def run_id(experiment_id, monkeypatch):
    """As the endpoint makes it for the job that this process runs."""
    monkeypatch.setenv(_MLFLOW_SERVER_JOB_ID.name, "this-job")
    tags = {MLFLOW_GENAI_EVALUATE_JOB_ID: "this-job"}
    return MlflowClient().create_run(experiment_id, tags=tags).info.run_id


@pytest.fixture
def attempt(experiment_id, trace_ids, run_id):
    """One attempt of the job, with a scorer."""

    def attempt(custom_scorer=length):
        invoke_genai_evaluate_job(
            trace_ids=trace_ids,
            serialized_scorers=[json.dumps(custom_scorer.model_dump())],
            run_id=run_id,
            experiment_id=experiment_id,
        )

    return attempt


class ServerDied(BaseException):
    """What ends the first attempt; the harness logs errors and goes on."""


@pytest.fixture
def cut_short(attempt, monkeypatch):
    """An attempt that ends when it stores its third answer."""

    def cut_short(custom_scorer=length):
        calls = count(1)
        log = mlflow.log_assessment

        def log_or_die(**assessment):
            if next(calls) > 2:
                raise ServerDied
            return log(**assessment)

        # One at a time, so that it is known how many answers are stored.
        monkeypatch.setenv("MLFLOW_GENAI_EVAL_MAX_WORKERS", "1")
        with monkeypatch.context() as dying:
            dying.setattr(mlflow, "log_assessment", log_or_die)
            with pytest.raises(ServerDied):
                attempt(custom_scorer)
            # What they had begun would be stored after the death of the server.
            for thread in threading.enumerate():
                if thread.name.startswith(("MlflowGenAIEvalPredict", "MlflowGenAIEvalScore")):
                    thread.join()

    return cut_short


@pytest.fixture
def answers(store, trace_ids):
    """All that stands at the evaluated traces, in their order."""

    def answers():
        return [
            assessment
            for trace in store.batch_get_traces(trace_ids)
            for assessment in trace.info.assessments
        ]

    return answers


def test_every_trace_has_one_answer_after_the_second_attempt(
    cut_short, attempt, answers, trace_ids, store, run_id
):
    cut_short()
    assert len(answers()) == 2

    attempt()

    assert sorted(each.trace_id for each in answers()) == sorted(trace_ids)
    run = store.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"length/mean": 3.0}
    assert len(store.get_metric_history(run_id, "length/mean")) == 1


def test_the_run_has_one_dataset_and_each_trace_once(
    cut_short, attempt, experiment_id, trace_ids, store, run_id
):
    cut_short()

    attempt()

    (dataset,) = store.get_run(run_id).inputs.dataset_inputs
    assert dataset.dataset.name == "dataset"
    linked, _ = store.search_traces([experiment_id], filter_string=f"run_id = '{run_id}'")
    assert sorted(each.trace_id for each in linked) == sorted(trace_ids)


def test_scorers_see_nothing_of_the_first_attempt(cut_short, attempt, answers):
    cut_short(already_said)

    attempt(already_said)

    assert [each.value for each in answers()] == [0] * QUESTIONS


def test_an_attempt_whose_end_was_not_recorded_is_not_doubled(attempt, answers, store, run_id):
    attempt()

    attempt()

    assert len(answers()) == QUESTIONS
    assert len(store.get_run(run_id).inputs.dataset_inputs) == 1


def test_traces_that_a_scorer_made_in_the_first_attempt_are_gone(
    cut_short, attempt, experiment_id, trace_ids, store
):
    cut_short(traced)
    assert len(store.search_traces([experiment_id])[0]) > QUESTIONS

    attempt(traced)

    found, _ = store.search_traces([experiment_id])
    assert sorted(each.trace_id for each in found) == sorted(trace_ids)


@pytest.mark.parametrize("made_for", ["another-job", None])
def test_a_run_that_was_not_made_for_this_job_loses_nothing(
    attempt, answers, experiment_id, run_id, store, made_for
):
    if made_for:
        MlflowClient().set_tag(run_id, MLFLOW_GENAI_EVALUATE_JOB_ID, made_for)
    else:
        MlflowClient().delete_tag(run_id, MLFLOW_GENAI_EVALUATE_JOB_ID)
    own = mlflow.start_span_no_context(
        "of the user",
        experiment_id=experiment_id,
        metadata={TraceMetadataKey.SOURCE_RUN: run_id},
    )
    own.end()
    attempt()

    attempt()

    assert len(answers()) == 2 * QUESTIONS
    assert store.batch_get_traces([own.trace_id])


def feedback(source_type, **values):
    return Feedback(source=AssessmentSource(source_type, "someone"), **values)


def test_what_others_said_of_the_traces_stays(cut_short, attempt, answers, trace_ids, run_id):
    cut_short()
    overridden, _ = answers()
    of_run = {AssessmentMetadataKey.SOURCE_RUN_ID: run_id}
    of_another = {AssessmentMetadataKey.SOURCE_RUN_ID: "another"}
    said = [
        feedback(AssessmentSourceType.HUMAN, name="seen", value=1, metadata=of_run),
        feedback(AssessmentSourceType.CODE, name="length", value=1, metadata=of_another),
        feedback(AssessmentSourceType.CODE, name="length", value=1),
    ]
    for each in said:
        mlflow.log_assessment(trace_ids[0], each)
    mlflow.override_feedback(
        trace_id=overridden.trace_id, assessment_id=overridden.assessment_id, value=4
    )

    before = {each.assessment_id for each in answers()}
    attempt()

    kept = [each for each in answers() if each.assessment_id in before]
    assert len(kept) == len(said) + 2
    assert len(answers()) == len(kept) + QUESTIONS
