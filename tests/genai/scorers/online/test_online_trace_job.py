"""The online trace job scores the batch it is given, and its work once."""

import json
import time
from dataclasses import asdict

import pytest

import mlflow
from mlflow.entities import AssessmentSource, Feedback
from mlflow.genai import scorer
from mlflow.genai.scorers import job as scorer_jobs
from mlflow.genai.scorers.online import OnlineScorerSampler, OnlineTraceLoader
from mlflow.genai.scorers.online.trace_batch import TraceBatchScoring
from mlflow.server.jobs import progress
from mlflow.tracing.constant import AssessmentMetadataKey

USER = AssessmentSource(source_type="HUMAN", source_id="ann")
TAG = "mlflow.latestOnlineScoring.trace.checkpoint"


@scorer
def length(outputs) -> int:
    return len(outputs)


@scorer
def shouting(outputs) -> bool:
    return outputs.isupper()


@scorer
def broken(outputs) -> bool:
    raise ValueError("cannot judge")


@scorer
def leaving(outputs) -> bool:
    raise SystemExit(2)


def run(experiment_id, online_scorers, batch, **params):
    return scorer_jobs.run_online_trace_scorer_job(
        experiment_id, [asdict(one) for one in online_scorers], batch=batch, **params
    )


def entry(trace_id, *scorers):
    return {"trace_id": trace_id, "scorers": list(scorers)}


def values(assessments):
    return {assessment.name: assessment.value for assessment in assessments}


def test_each_trace_is_scored_with_the_scorers_named_for_it(
    experiment_id, add_trace, online, assessments_of
):
    loud, quiet, other = add_trace("HELLO"), add_trace("hm"), add_trace("not in the batch")
    batch = [entry(loud, "length", "shouting"), entry(quiet, "length")]

    result = run(experiment_id, [online(length), online(shouting)], batch)

    assert values(assessments_of(loud)) == {"length": 5, "shouting": True}
    assert values(assessments_of(quiet)) == {"length": 2}
    assert assessments_of(other) == []
    assert result == {"traces_scored": 2, "assessments": 3, "failures": 0}


def test_an_assessment_says_which_scorer_made_it(experiment_id, add_trace, online, assessments_of):
    trace_id = add_trace("HELLO")

    run(experiment_id, [online(length, version=3)], [entry(trace_id, "length")])

    (assessment,) = assessments_of(trace_id)
    assert assessment.source.source_type == "CODE"
    assert assessment.metadata[AssessmentMetadataKey.SCORER_NAME] == "length"
    assert assessment.metadata[AssessmentMetadataKey.SCORER_VERSION] == "3"


def test_a_batch_scored_again_adds_only_what_is_missing(
    experiment_id, add_trace, online, assessments_of
):
    done, left = add_trace("one"), add_trace("three")
    run(experiment_id, [online(length)], [entry(done, "length")])

    result = run(experiment_id, [online(length)], [entry(done, "length"), entry(left, "length")])

    assert [len(assessments_of(trace_id)) for trace_id in (done, left)] == [1, 1]
    assert result == {"traces_scored": 1, "assessments": 1, "failures": 0}


def test_an_error_counts_as_scored(experiment_id, add_trace, online, assessments_of):
    trace_id = add_trace("one")

    for _ in range(2):
        run(experiment_id, [online(broken)], [entry(trace_id, "broken")])

    assert len(assessments_of(trace_id)) == 1


def test_a_scorer_that_asks_for_the_end_of_the_process_has_an_error_and_ends_nothing(
    experiment_id, add_trace, online, assessments_of
):
    trace_id = add_trace("one")

    result = run(
        experiment_id,
        [online(leaving), online(length), online(shouting)],
        [entry(trace_id, "length", "leaving", "shouting")],
    )

    made = {each.name: each for each in assessments_of(trace_id)}
    assert (made["length"].value, made["shouting"].value) == (3, False)
    assert "SystemExit(2)" in made["leaving"].error.error_message
    assert result == {"traces_scored": 1, "assessments": 2, "failures": 1}


@pytest.mark.parametrize("version", [1, None])
def test_what_a_person_said_under_the_same_name_suppresses_nothing(
    experiment_id, add_trace, online, assessments_of, version
):
    trace_id = add_trace("one")
    mlflow.log_feedback(trace_id=trace_id, name="length", value=99, source=USER)

    for _ in range(2):
        run(experiment_id, [online(length, version=version)], [entry(trace_id, "length")])

    assert sorted(assessment.value for assessment in assessments_of(trace_id)) == [3, 99]


def test_an_assessment_that_a_person_overrode_still_counts(
    experiment_id, add_trace, online, assessments_of
):
    trace_id = add_trace("one")
    run(experiment_id, [online(length)], [entry(trace_id, "length")])
    (made,) = assessments_of(trace_id)
    mlflow.override_feedback(
        trace_id=trace_id, assessment_id=made.assessment_id, value=99, source=USER
    )

    result = run(experiment_id, [online(length)], [entry(trace_id, "length")])

    assert result["assessments"] == 0
    assert len(assessments_of(trace_id)) == 2


def test_what_an_evaluation_run_recorded_suppresses_nothing(
    experiment_id, add_trace, online, assessments_of
):
    trace_id = add_trace("one")
    run(experiment_id, [online(length)], [entry(trace_id, "length")])
    (made,) = assessments_of(trace_id)
    mlflow.delete_assessment(trace_id=trace_id, assessment_id=made.assessment_id)
    evaluated = Feedback(
        name="length",
        value=3,
        source=made.source,
        metadata={**made.metadata, AssessmentMetadataKey.SOURCE_RUN_ID: "run"},
    )
    mlflow.log_assessment(trace_id=trace_id, assessment=evaluated)

    run(experiment_id, [online(length)], [entry(trace_id, "length")])

    assert len(assessments_of(trace_id)) == 2


def test_a_new_version_of_a_scorer_scores_again(experiment_id, add_trace, online, assessments_of):
    trace_id = add_trace("one")

    for version in (1, 2):
        run(experiment_id, [online(length, version=version)], [entry(trace_id, "length")])

    assert len(assessments_of(trace_id)) == 2


def test_a_scorer_that_fails_leaves_its_error_and_stops_no_other(
    experiment_id, add_trace, online, assessments_of
):
    trace_id = add_trace("one")

    result = run(
        experiment_id, [online(broken), online(length)], [entry(trace_id, "broken", "length")]
    )

    by_name = {assessment.name: assessment for assessment in assessments_of(trace_id)}
    assert by_name["length"].value == 3
    assert "cannot judge" in by_name["broken"].error.error_message
    assert by_name["broken"].source.source_type == "CODE"
    assert result == {"traces_scored": 1, "assessments": 1, "failures": 1}


def test_an_assessment_that_cannot_be_stored_is_replaced_by_its_error(
    experiment_id, add_trace, online, assessments_of
):
    @scorer
    def endless(outputs):
        from mlflow.entities import Feedback

        return Feedback(value={"x": float("inf"), "y": {1, 2}})

    trace_id = add_trace("one")
    result = run(
        experiment_id, [online(endless), online(length)], [entry(trace_id, "endless", "length")]
    )

    by_name = {assessment.name: assessment for assessment in assessments_of(trace_id)}
    assert by_name["endless"].error is not None
    assert by_name["length"].value == 3
    assert result["failures"] == 1


def test_a_trace_that_is_gone_is_left_out(experiment_id, add_trace, online, assessments_of):
    trace_id = add_trace("one")

    result = run(
        experiment_id, [online(length)], [entry("tr-gone", "length"), entry(trace_id, "length")]
    )

    assert values(assessments_of(trace_id)) == {"length": 3}
    assert result["traces_scored"] == 1


def test_custom_scorers_are_left_out_where_this_process_may_not_run_them(
    experiment_id, add_trace, online, assessments_of, monkeypatch
):
    trace_id = add_trace("one")
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS", "false")

    result = run(experiment_id, [online(length)], [entry(trace_id, "length")])

    assert assessments_of(trace_id) == []
    assert result == {"traces_scored": 0, "assessments": 0, "failures": 0}


def test_the_job_leaves_the_checkpoint_to_its_success(
    experiment_id, store, add_trace, online, assessments_of
):
    trace_id = add_trace("one")
    move = {"experiment_id": experiment_id, "tag": TAG, "value": {"timestamp_ms": 1}}

    run(experiment_id, [online(length)], [entry(trace_id, "length")], next_checkpoint=move)

    assert len(assessments_of(trace_id)) == 1
    assert TAG not in store.get_experiment(experiment_id).tags


def test_an_empty_batch_scores_nothing_and_looks_for_nothing(
    experiment_id, store, add_trace, online, assessments_of
):
    trace_id = add_trace("one", timestamp_ms=_minutes_ago(10))

    result = run(experiment_id, [online(length)], [])

    assert result == {"traces_scored": 0, "assessments": 0, "failures": 0}
    assert assessments_of(trace_id) == []
    assert TAG not in store.get_experiment(experiment_id).tags


def test_without_a_batch_the_job_looks_for_traces_and_moves_the_checkpoint_itself(
    experiment_id, store, add_trace, online, assessments_of
):
    started = _minutes_ago(10)
    trace_id = add_trace("one", timestamp_ms=started)

    result = run(experiment_id, [online(length)], None)

    assert result is None
    assert values(assessments_of(trace_id)) == {"length": 3}
    checkpoint = json.loads(store.get_experiment(experiment_id).tags[TAG])
    assert checkpoint == {"timestamp_ms": started, "trace_id": trace_id}


def test_the_job_reports_how_far_it_is(experiment_id, add_trace, online, monkeypatch):
    reports = []

    class Recorder:
        def update_job_progress(self, message=None, progress=None):
            reports.append(progress.to_dict())

    monkeypatch.setattr(progress, "_job_tracker", Recorder())
    batch = [entry(add_trace("one"), "length"), entry(add_trace("two"), "length")]

    run(experiment_id, [online(length)], batch)

    assert reports[0] == {"phase": "scoring traces", "completed": 0, "total": 2, "unit": "traces"}
    assert reports[-1]["completed"] == 2


class RecordingContainers:
    """Stands for job containers: keeps the work, and fails the traces it is told to."""

    def __init__(self, failing=()):
        self.work = {}
        self._failing = failing

    def score(self, work, on_failure):
        for online_scorer, traces in work:
            self.work[online_scorer.name] = [trace.info.trace_id for trace in traces]
            for trace in traces:
                if trace.info.trace_id in self._failing:
                    on_failure(online_scorer, [trace], "container ended")


def test_custom_scorers_go_to_the_containers_where_there_are_any(
    store, experiment_id, add_trace, online, assessments_of
):
    first, second = add_trace("one"), add_trace("two")
    containers = RecordingContainers(failing=[second])
    loaded = OnlineScorerSampler([online(length)], run_custom_scorers_on_host=False)

    summary = TraceBatchScoring(loaded, OnlineTraceLoader(store), containers).run(
        [entry(first, "length"), entry(second, "length")]
    )

    assert containers.work == {"length": [first, second]}
    assert assessments_of(first) == []
    (error,) = assessments_of(second)
    assert error.error.error_message == "container ended"
    assert error.source.source_type == "CODE"
    assert summary == {"traces_scored": 2, "assessments": 1, "failures": 1}


@pytest.mark.parametrize("batch", [None, []])
def test_a_job_whose_scorers_cannot_be_parsed_fails(store, experiment_id, online, batch):
    unreadable = asdict(online(length)) | {"serialized_scorer": "{"}

    with pytest.raises(mlflow.MlflowException, match="Malformed"):
        scorer_jobs.run_online_trace_scorer_job(experiment_id, [unreadable], batch=batch)


def _minutes_ago(minutes):
    return int((time.time() - 60 * minutes) * 1000)
