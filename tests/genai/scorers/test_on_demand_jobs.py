"""On demand, one scorer scores the traces that a user named."""

import json
import os
from itertools import count

import pytest

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.genai import scorer
from mlflow.genai.scorers.job import get_trace_batches_for_scorer, invoke_scorer_job
from mlflow.server.jobs import progress
from mlflow.tracing.constant import AssessmentMetadataKey


@scorer
def length(outputs) -> int:
    return len(outputs)


@scorer
def turns(session) -> int:
    return len(session)


@scorer
def picky(outputs) -> int:
    if outputs == "bad":
        raise ValueError("cannot judge")
    return 1


@scorer
def both(outputs):
    from mlflow.entities import Feedback

    return [Feedback(name="one", value=1), Feedback(name="two", value=2)]


@scorer
def both_turns(session):
    from mlflow.entities import Feedback

    return [Feedback(name="one", value=1), Feedback(name="two", value=2)]


def invoke(experiment_id, custom_scorer, trace_ids, **params):
    dumped = json.dumps(custom_scorer.model_dump())
    return invoke_scorer_job(experiment_id, dumped, trace_ids, **params)


def test_each_named_trace_is_scored_and_answered_for(experiment_id, add_trace, assessments_of):
    one, three, other = add_trace("a"), add_trace("abc"), add_trace("unnamed")

    result = invoke(experiment_id, length, [one, three], scorer_version=2)

    assert list(result) == [one, three]
    assert [result[t]["assessments"][0]["feedback"]["value"] for t in (one, three)] == [1, 3]
    (stored,) = assessments_of(three)
    assert stored.value == 3
    assert stored.metadata[AssessmentMetadataKey.SCORER_VERSION] == "2"
    assert assessments_of(other) == []
    json.dumps(result)


def test_assessments_can_be_answered_without_being_stored(experiment_id, add_trace, assessments_of):
    trace_id = add_trace("abc")

    result = invoke(experiment_id, length, [trace_id], log_assessments=False)

    assert len(result[trace_id]["assessments"]) == 1
    assert assessments_of(trace_id) == []


@pytest.fixture
def killed_at_the_second(monkeypatch):
    """The job's process is killed when it stores its second assessment."""

    def killed(call):
        calls = count(1)
        log = mlflow.log_assessment

        def log_or_die(**assessment):
            if next(calls) > 1:
                raise KeyboardInterrupt
            return log(**assessment)

        with monkeypatch.context() as dying:
            dying.setattr(mlflow, "log_assessment", log_or_die)
            with pytest.raises(KeyboardInterrupt):
                call()

    return killed


@pytest.mark.parametrize("scored", ["traces", "one trace", "session"])
def test_a_job_that_is_run_again_stores_nothing_twice(
    experiment_id, add_trace, assessments_of, monkeypatch, killed_at_the_second, scored
):
    custom_scorer = {"traces": length, "one trace": both, "session": both_turns}[scored]
    ids = [
        add_trace("abc", 1_700_000_000_000 + number, session_id="s")
        for number in range(1 if scored == "one trace" else 2)
    ]
    monkeypatch.setenv("_MLFLOW_SERVER_JOB_ID", "job")
    killed_at_the_second(lambda: invoke(experiment_id, custom_scorer, ids))
    assert sum(len(assessments_of(each)) for each in ids) == 1

    result = invoke(experiment_id, custom_scorer, ids)

    assert sum(len(assessments_of(each)) for each in ids) == 2
    assert sum(len(each["assessments"]) for each in result.values()) == 2
    assert invoke(experiment_id, custom_scorer, ids).keys() == result.keys()
    assert sum(len(assessments_of(each)) for each in ids) == 2


def test_another_job_stores_an_assessment_of_its_own(
    experiment_id, add_trace, assessments_of, monkeypatch
):
    trace_id = add_trace("abc")
    for job_id in ("one", "other"):
        monkeypatch.setenv("_MLFLOW_SERVER_JOB_ID", job_id)
        invoke(experiment_id, length, [trace_id])

    assert [assessment.value for assessment in assessments_of(trace_id)] == [3, 3]


def test_a_failure_is_answered_at_its_trace_only(experiment_id, add_trace):
    good, bad = add_trace("good"), add_trace("bad")

    result = invoke(experiment_id, picky, [good, bad])

    assert result[good]["failures"] == []
    assert result[bad]["failures"] == [
        {"error_code": "SCORER_ERROR", "error_message": "cannot judge"}
    ]


def test_a_session_is_scored_as_a_whole_at_its_first_trace(
    experiment_id, add_trace, assessments_of
):
    later = add_trace("b", timestamp_ms=1_700_000_000_002, session_id="s")
    first = add_trace("a", timestamp_ms=1_700_000_000_001, session_id="s")

    result = invoke(experiment_id, turns, [later, first])

    assert list(result) == [first]
    assert [assessment.value for assessment in assessments_of(first)] == [2]
    assert assessments_of(later) == []


def test_a_session_level_scorer_refuses_a_trace_without_a_session(experiment_id, add_trace):
    with pytest.raises(MlflowException, match="belongs to no session"):
        invoke(experiment_id, turns, [add_trace("a")])


def test_a_trace_that_does_not_exist_fails_the_job_by_its_id(experiment_id, add_trace):
    with pytest.raises(MlflowException, match="tr-gone"):
        invoke(experiment_id, length, [add_trace("a"), "tr-gone"])


def test_a_custom_scorer_does_not_run_where_they_are_disabled(
    experiment_id, add_trace, monkeypatch
):
    trace_id = add_trace("a")
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS", "false")

    with pytest.raises(MlflowException):
        invoke(experiment_id, length, [trace_id])


def test_the_gateway_is_called_as_the_user_who_asked(experiment_id, add_trace, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "server")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "server's")
    monkeypatch.setenv("_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN", "internal")

    invoke(experiment_id, length, [add_trace("a")], username="ann")

    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "ann"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "internal"


def test_traces_are_cut_into_jobs_of_bounded_size(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_SERVER_SCORER_INVOKE_BATCH_SIZE", "2")

    assert get_trace_batches_for_scorer(list("abcde"), length, store) == [
        ["a", "b"],
        ["c", "d"],
        ["e"],
    ]


def test_a_session_level_scorer_gets_a_job_per_session_oldest_trace_first(store, add_trace):
    second = add_trace("b", timestamp_ms=1_700_000_000_002, session_id="s")
    first = add_trace("a", timestamp_ms=1_700_000_000_001, session_id="s")
    alone = add_trace("c", session_id="t")
    without = add_trace("d")

    batches = get_trace_batches_for_scorer([second, alone, without, first], turns, store)

    assert sorted(batches, key=len) == [[alone], [first, second]]


@pytest.mark.parametrize(
    ("scorer", "unit", "total"), [(length, "traces", 2), (turns, "sessions", 1)]
)
def test_the_job_reports_how_far_it_is(
    experiment_id, store, add_trace, monkeypatch, scorer, unit, total
):
    reports = []

    class Recorder:
        def update_job_progress(self, message=None, progress=None):
            reports.append((message, progress.completed, progress.total, progress.unit))

    monkeypatch.setattr(progress, "_job_tracker", Recorder())
    trace_ids = [add_trace(word, session_id="s") for word in ("one", "two")]

    invoke_scorer_job(experiment_id, json.dumps(scorer.model_dump()), trace_ids)

    assert reports[0] == (f"Scored 0 of {total} {unit}", 0, total, unit)
    assert reports[-1] == (f"Scored {total} of {total} {unit}", total, total, unit)
