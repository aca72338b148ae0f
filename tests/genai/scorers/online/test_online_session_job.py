"""The online session job scores the sessions it is given, and says each thing once."""

import json
import time
from dataclasses import asdict

import pytest

import mlflow
from mlflow.entities import AssessmentSource, Feedback
from mlflow.exceptions import MlflowException
from mlflow.genai import scorer
from mlflow.genai.scorers import job as scorer_jobs
from mlflow.genai.scorers.online import OnlineScorerSampler
from mlflow.genai.scorers.online.session_batch import SESSION_ID, SessionBatchScoring
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from mlflow.server.jobs import TransientError, progress
from mlflow.tracing.constant import TraceMetadataKey

TAG = "mlflow.latestOnlineScoring.session.checkpoint"
START = 1_700_000_000_000


@scorer
def turns(session) -> int:
    return len(session)


@scorer
def mood(session):
    from mlflow.entities import Feedback

    return [Feedback(name="calm", value=True), Feedback(name="brief", value=len(session) < 9)]


@scorer
def broken(session):
    raise ValueError("cannot judge")


@scorer
def leaving(session):
    raise SystemExit(2)


@pytest.fixture
def add_session(add_trace):
    def add_session(session_id, count=2, start=START):
        return [add_trace("said", start + number, session_id) for number in range(count)]

    return add_session


def entry(session_id, *scorers, first=START, last=START + 1):
    return {
        "session_id": session_id,
        "first_trace_timestamp_ms": first,
        "last_trace_timestamp_ms": last,
        "scorers": list(scorers),
    }


def run(experiment_id, online_scorers, batch, **params):
    return scorer_jobs.run_online_session_scorer_job(
        experiment_id, [asdict(one) for one in online_scorers], batch=batch, **params
    )


def values(assessments):
    return sorted((each.name, each.value) for each in assessments)


def test_a_scorer_that_asks_for_the_end_of_the_process_has_an_error_and_ends_nothing(
    experiment_id, add_session, online, assessments_of
):
    first, _ = add_session("s1")

    result = run(experiment_id, [online(leaving), online(turns)], [entry("s1", "leaving", "turns")])

    made = {each.name: each for each in assessments_of(first)}
    assert made["turns"].value == 2
    assert "SystemExit(2)" in made["leaving"].error.error_message
    assert result == {"sessions_scored": 1, "assessments": 1, "failures": 1}


def test_each_session_is_scored_at_its_first_trace_with_the_scorers_named_for_it(
    experiment_id, add_session, online, assessments_of
):
    first, second = add_session("a")
    (alone,) = add_session("b", 1)
    other = add_session("not in the batch")[0]
    batch = [entry("a", "turns", "mood"), entry("b", "turns", last=START)]

    result = run(experiment_id, [online(turns), online(mood)], batch)

    assert values(assessments_of(first)) == [("brief", True), ("calm", True), ("turns", 2)]
    assert values(assessments_of(alone)) == [("turns", 1)]
    assert assessments_of(second) == assessments_of(other) == []
    assert result == {"sessions_scored": 2, "assessments": 4, "failures": 0}


def test_an_assessment_names_its_session_as_3_18_does(
    experiment_id, add_session, online, assessments_of
):
    first, _ = add_session("a")

    run(experiment_id, [online(turns, version=3)], [entry("a", "turns")])

    (assessment,) = assessments_of(first)
    assert assessment.metadata["mlflow.assessment.onlineScoringSessionId"] == "a"
    assert assessment.metadata[TraceMetadataKey.TRACE_SESSION] == "a"
    assert assessment.metadata["mlflow.assessment.scorerVersion"] == "3"
    assert assessment.source.source_type == "CODE"


def test_a_batch_scored_again_adds_only_what_is_missing(
    experiment_id, add_session, online, assessments_of
):
    done, _ = add_session("done")
    left, _ = add_session("left")
    run(experiment_id, [online(mood)], [entry("done", "mood")])

    result = run(experiment_id, [online(mood)], [entry("done", "mood"), entry("left", "mood")])

    assert [len(assessments_of(trace_id)) for trace_id in (done, left)] == [2, 2]
    assert result == {"sessions_scored": 1, "assessments": 2, "failures": 0}


def test_an_attempt_that_ended_between_two_assessments_is_made_good(
    experiment_id, add_session, online, assessments_of, store
):
    first, _ = add_session("a")
    run(experiment_id, [online(mood)], [entry("a", "mood")])
    (last,) = [each for each in assessments_of(first) if each.name == "brief"]
    store.delete_assessment(first, last.assessment_id)

    run(experiment_id, [online(mood)], [entry("a", "mood")])

    assert values(assessments_of(first)) == [("brief", True), ("calm", True)]


def test_a_session_that_went_on_is_scored_again_and_the_old_word_goes(
    experiment_id, add_session, add_trace, online, assessments_of
):
    first, _ = add_session("a")
    run(experiment_id, [online(turns)], [entry("a", "turns")])
    add_trace("more", START + 5, "a")

    for _ in range(2):
        run(experiment_id, [online(turns)], [entry("a", "turns", last=START + 5)])

    assert values(assessments_of(first)) == [("turns", 3)]


def test_an_attempt_that_ended_before_the_old_word_was_deleted_is_made_good(
    experiment_id, add_session, add_trace, online, assessments_of, store, monkeypatch
):
    first, _ = add_session("a")
    run(experiment_id, [online(turns)], [entry("a", "turns")])
    add_trace("more", START + 5, "a")
    with monkeypatch.context() as interrupted:
        interrupted.setattr(store, "delete_assessment", lambda **_: None)
        run(experiment_id, [online(turns)], [entry("a", "turns", last=START + 5)])
    assert values(assessments_of(first)) == [("turns", 2), ("turns", 3)]

    result = run(experiment_id, [online(turns)], [entry("a", "turns", last=START + 5)])

    assert values(assessments_of(first)) == [("turns", 3)]
    assert result["assessments"] == 0


def test_what_3_18_said_of_the_session_is_replaced(
    experiment_id, add_session, online, assessments_of
):
    first, _ = add_session("a")
    source = AssessmentSource(source_type="CODE", source_id="turns")
    said = Feedback(name="turns", value=1, source=source, metadata={SESSION_ID: "a"})
    mlflow.log_assessment(trace_id=first, assessment=said)

    run(experiment_id, [online(turns)], [entry("a", "turns")])

    assert values(assessments_of(first)) == [("turns", 2)]


def test_what_a_person_said_stays(experiment_id, add_session, online, assessments_of):
    first, _ = add_session("a")
    person = AssessmentSource(source_type="HUMAN", source_id="ann")
    mlflow.log_feedback(trace_id=first, name="turns", value=99, source=person)

    run(experiment_id, [online(turns)], [entry("a", "turns")])

    assert values(assessments_of(first)) == [("turns", 2), ("turns", 99)]


def test_a_session_is_scored_up_to_the_trace_that_was_its_last(
    experiment_id, add_session, online, assessments_of
):
    first, *_ = add_session("a", 4)

    run(experiment_id, [online(turns)], [entry("a", "turns", last=START + 2)])

    assert values(assessments_of(first)) == [("turns", 3)]


@pytest.mark.parametrize("session_id", ["it's", 'say "hi"', 'it\'s "both"', "a\\b", "ü AND x"])
def test_any_id_names_its_session(experiment_id, add_session, online, assessments_of, session_id):
    add_session("another")
    first, _ = add_session(session_id)

    run(experiment_id, [online(turns)], [entry(session_id, "turns")])

    assert values(assessments_of(first)) == [("turns", 2)]


def test_a_scorer_that_fails_leaves_its_error_once_and_stops_no_other(
    experiment_id, add_session, online, assessments_of
):
    first, _ = add_session("a")

    for _ in range(2):
        run(experiment_id, [online(broken), online(turns)], [entry("a", "broken", "turns")])

    by_name = {each.name: each for each in assessments_of(first)}
    assert len(assessments_of(first)) == 2
    assert by_name["turns"].value == 2
    assert "cannot judge" in by_name["broken"].error.error_message


def test_a_session_that_is_gone_is_left_out(experiment_id, add_session, online, assessments_of):
    first, _ = add_session("a")

    result = run(experiment_id, [online(turns)], [entry("gone", "turns"), entry("a", "turns")])

    assert values(assessments_of(first)) == [("turns", 2)]
    assert result["sessions_scored"] == 1


def test_i05_a_batch_that_the_database_took_in_part_does_not_succeed(
    experiment_id, add_session, online, store, monkeypatch
):
    add_session("a")

    def no_answer(*args, **kwargs):
        raise MlflowException("gone for now", error_code=TEMPORARILY_UNAVAILABLE)

    monkeypatch.setattr(store, "search_traces", no_answer)

    with pytest.raises(TransientError) as raised:
        run(experiment_id, [online(turns)], [entry("a", "turns")])
    assert "1 part" in str(raised.value.origin_error)


def test_the_job_leaves_the_checkpoint_to_its_success(experiment_id, store, add_session, online):
    add_session("a")
    move = {"experiment_id": experiment_id, "tag": TAG, "value": {"timestamp_ms": 1}}

    run(experiment_id, [online(turns)], [entry("a", "turns")], next_checkpoint=move)

    assert TAG not in store.get_experiment(experiment_id).tags


def test_the_job_reports_how_far_it_is(experiment_id, add_session, online, monkeypatch):
    reports = []

    class Recorder:
        def update_job_progress(self, message=None, progress=None):
            reports.append((message, progress.completed, progress.total, progress.unit))

    monkeypatch.setattr(progress, "_job_tracker", Recorder())
    add_session("a")
    add_session("b")

    run(experiment_id, [online(turns)], [entry("a", "turns"), entry("b", "turns")])

    assert reports[0] == ("Scored 0 of 2 sessions", 0, 2, "sessions")
    assert reports[-1][1:] == (2, 2, "sessions")


class RecordingContainers:
    """Stands for job containers: keeps the work, answers one value, fails what it is told to."""

    def __init__(self, failing=()):
        self.work = []
        self._failing = failing

    def score_sessions(self, work, on_result, on_failure):
        for online_scorer, traces in work:
            self.work.append((online_scorer.name, len(traces)))
            if traces[0].info.trace_id in self._failing:
                on_failure(online_scorer, traces, "container ended")
            else:
                source = AssessmentSource(source_type="CODE", source_id=online_scorer.name)
                metadata = {
                    "mlflow.assessment.scorerName": online_scorer.name,
                    "mlflow.assessment.scorerVersion": str(online_scorer.scorer_version),
                }
                on_result(
                    online_scorer,
                    traces,
                    [Feedback(name="turns", value=7, source=source, metadata=metadata)],
                )


def test_custom_scorers_go_to_the_containers_where_there_are_any(
    store, experiment_id, add_session, online, assessments_of
):
    first, _ = add_session("a")
    failed, _ = add_session("b")
    containers = RecordingContainers(failing=[failed])
    batch = [entry("a", "turns"), entry("b", "turns")]

    for _ in range(2):
        loaded = OnlineScorerSampler([online(turns)], run_custom_scorers_on_host=False)
        SessionBatchScoring(experiment_id, loaded, store, containers).run(batch)

    assert containers.work == [("turns", 2), ("turns", 2)]
    (assessment,) = assessments_of(first)
    assert (assessment.value, assessment.metadata[SESSION_ID]) == (7, "a")
    (error,) = assessments_of(failed)
    assert (error.error.error_code, error.error.error_message) == (
        "SCORER_ERROR",
        "container ended",
    )


def test_a_container_replaces_nothing_that_a_judge_said(
    store, experiment_id, add_session, online, assessments_of
):
    first, _ = add_session("a")
    judge = AssessmentSource(source_type="LLM_JUDGE", source_id="judge")
    said = Feedback(name="turns", value=1, source=judge, metadata={SESSION_ID: "a"})
    mlflow.log_assessment(trace_id=first, assessment=said)
    loaded = OnlineScorerSampler([online(turns)], run_custom_scorers_on_host=False)

    SessionBatchScoring(experiment_id, loaded, store, RecordingContainers()).run(
        [entry("a", "turns")]
    )

    assert values(assessments_of(first)) == [("turns", 1), ("turns", 7)]


def test_without_a_batch_the_job_looks_for_sessions_and_moves_the_checkpoint_itself(
    experiment_id, store, add_session, online, assessments_of
):
    started = int(time.time() * 1000) - 600_000
    first, second = add_session("s", start=started)

    result = run(experiment_id, [online(turns)], None)

    assert result is None
    assert values(assessments_of(first)) == [("turns", 2)]
    assert assessments_of(second) == []
    checkpoint = json.loads(store.get_experiment(experiment_id).tags[TAG])
    assert checkpoint == {"timestamp_ms": started + 1, "session_id": "s"}
