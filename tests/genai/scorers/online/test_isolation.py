"""A scorer that ends its process, or is silent, costs its own answers and nobody else's."""

import threading
from dataclasses import asdict

import pytest

from mlflow.exceptions import MlflowException
from mlflow.genai import scorer
from mlflow.genai.evaluation.rate_limiter import NoOpRateLimiter
from mlflow.genai.judges import make_judge
from mlflow.genai.scorers import job as scorer_jobs
from mlflow.genai.scorers.base import _job_executor_scorer_context
from mlflow.genai.scorers.online import (
    OnlineScorerSampler,
    OnlineTraceLoader,
    session_batch,
    trace_batch,
)
from mlflow.genai.scorers.online.batch_parts import RateLimits
from mlflow.genai.scorers.online.isolation import Isolation
from mlflow.genai.scorers.online.session_batch import SessionBatchScoring
from mlflow.genai.scorers.online.trace_batch import TraceBatchScoring


@scorer
def length(outputs) -> int:
    return len(outputs)


@scorer
def fatal(outputs) -> int:
    import os
    import signal

    if outputs == "poison":
        os.kill(os.getpid(), signal.SIGSEGV)
    if outputs == "silence":
        signal.pause()
    if outputs == "leave":
        os._exit(0)
    return len(outputs)


@scorer
def odd(outputs):
    return lambda: outputs


@scorer
def turns(session) -> int:
    return len(session)


@scorer
def fatal_turns(session) -> int:
    import os

    if len(session) > 1:
        os._exit(3)
    return len(session)


@pytest.fixture
def run_traces(experiment_id):
    def run(online_scorers, traces):
        names = [each.name for each in online_scorers]
        return scorer_jobs.run_online_trace_scorer_job(
            experiment_id,
            [asdict(each) for each in online_scorers],
            batch=[{"trace_id": trace_id, "scorers": names} for trace_id in traces],
            isolate=True,
        )

    return run


@pytest.fixture
def said(assessments_of):
    def said(trace_id, name):
        (assessment,) = [each for each in assessments_of(trace_id) if each.name == name]
        return assessment.error.error_message if assessment.error else assessment.value

    return said


def test_what_ends_its_process_has_an_error_there_and_its_answers_elsewhere(
    add_trace, online, run_traces, said
):
    good, poison, other = add_trace("good"), add_trace("poison"), add_trace("other")

    result = run_traces([online(fatal), online(length)], [good, poison, other])

    assert [said(each, "length") for each in (good, poison, other)] == [4, 6, 5]
    assert [said(each, "fatal") for each in (good, other)] == [4, 5]
    assert "its process was killed by SIGSEGV" in said(poison, "fatal")
    assert result == {"traces_scored": 3, "assessments": 5, "failures": 1}


def test_an_answer_from_another_process_is_the_same_as_one_from_the_jobs_own(
    experiment_id, add_trace, online, run_traces, assessments_of
):
    here, there = add_trace("same"), add_trace("same")
    scorers = [online(length, version=3)]
    scorer_jobs.run_online_trace_scorer_job(
        experiment_id,
        [asdict(each) for each in scorers],
        batch=[{"trace_id": here, "scorers": ["length"]}],
    )

    run_traces(scorers, [there])

    (one,), (other,) = assessments_of(here), assessments_of(there)
    for field in ("name", "value", "source", "rationale", "error", "overrides", "valid"):
        assert getattr(one, field) == getattr(other, field), field
    assert one.metadata == other.metadata


def test_what_ends_every_process_is_not_called_without_end(add_trace, online, run_traces, said):
    traces = [add_trace("leave") for _ in range(5)]

    result = run_traces([online(fatal)], traces)

    errors = [said(each, "fatal") for each in traces]
    assert sum("its process ended by itself" in error for error in errors) == 5
    assert sum("was not called here" in error for error in errors) == 2
    assert result == {"traces_scored": 5, "assessments": 0, "failures": 5}


def test_what_is_silent_is_not_waited_for_without_end(add_trace, online, store):
    trace_id = add_trace("silence")
    sampler = OnlineScorerSampler([online(fatal)])
    (trace,) = store.batch_get_traces([trace_id])

    with Isolation(sampler, isolates=True, patience_seconds=0.5) as isolation:
        isolation.begin([sampler.scorer("fatal")])
        with pytest.raises(Exception, match="did not answer within 0.5 seconds"):
            isolation.ask(sampler.scorer("fatal"), [trace])


def test_an_answer_that_cannot_be_sent_is_an_error_of_its_own(add_trace, online, run_traces, said):
    first, second = add_trace("first"), add_trace("second")

    run_traces([online(odd), online(length)], [first, second])

    assert isinstance(said(first, "odd"), str)
    assert isinstance(said(second, "odd"), str)
    assert said(second, "length") == 6


def test_what_ends_its_process_at_a_session_has_an_error_there(
    experiment_id, add_trace, online, said
):
    one = add_trace("a", 1_700_000_000_000, "short")
    two = add_trace("b", 1_700_000_000_100, "long")
    last = add_trace("c", 1_700_000_000_200, "long")

    def entry(session_id, first_ms, last_ms):
        return {
            "session_id": session_id,
            "first_trace_timestamp_ms": first_ms,
            "last_trace_timestamp_ms": last_ms,
            "scorers": ["turns", "fatal_turns"],
        }

    result = scorer_jobs.run_online_session_scorer_job(
        experiment_id,
        [asdict(online(turns)), asdict(online(fatal_turns))],
        batch=[
            entry("short", 1_700_000_000_000, 1_700_000_000_000),
            entry("long", 1_700_000_000_100, 1_700_000_000_200),
        ],
        isolate=True,
    )

    assert (said(one, "turns"), said(two, "turns")) == (1, 2)
    assert said(one, "fatal_turns") == 1
    assert "its process exited with error code 3" in said(two, "fatal_turns")
    assert result == {"sessions_scored": 2, "assessments": 3, "failures": 1}
    assert last


@pytest.mark.parametrize("level", [trace_batch, session_batch])
def test_a_limit_holds_for_all_processes_together(
    experiment_id, add_trace, online, run_traces, monkeypatch, level
):
    acquired = []

    class Counted(NoOpRateLimiter):
        def acquire(self, **_):
            acquired.append(None)

    monkeypatch.setattr(level, "rate_limits", lambda _: RateLimits(Counted(), Counted()))
    time_ms = 1_700_000_000_000
    trace_id = add_trace("hello", time_ms, "session")
    if level is trace_batch:
        run_traces([online(length), online(fatal)], [trace_id])
    else:
        scorer_jobs.run_online_session_scorer_job(
            experiment_id,
            [asdict(online(turns)), asdict(online(fatal_turns))],
            batch=[
                {
                    "session_id": "session",
                    "first_trace_timestamp_ms": time_ms,
                    "last_trace_timestamp_ms": time_ms,
                    "scorers": ["turns", "fatal_turns"],
                }
            ],
            isolate=True,
        )

    assert len(acquired) == 2


def test_judges_of_mlflow_stay_in_the_process_of_the_job(online):
    judge = make_judge(name="polite", instructions="Is {{ outputs }} polite?", model="gateway:/e")
    sampler = OnlineScorerSampler([online(judge), online(length)])

    with Isolation(sampler, isolates=True) as isolation:
        isolation.begin([sampler.scorer("polite"), sampler.scorer("length")])
        assert not isolation.holds(sampler.scorer("polite"))
        assert isolation.holds(sampler.scorer("length"))


def test_one_call_may_take_an_eighth_of_the_jobs_time(online, monkeypatch):
    monkeypatch.setenv("MLFLOW_SERVER_JOB_DEFAULT_TIMEOUT", "80")
    assert Isolation(OnlineScorerSampler([]), isolates=False).patience_seconds == 10
    monkeypatch.delenv("MLFLOW_SERVER_JOB_DEFAULT_TIMEOUT")
    assert Isolation(OnlineScorerSampler([]), isolates=False).patience_seconds == 450


@pytest.mark.parametrize(
    ("isolates", "names", "patience_seconds"),
    [(False, ["polite"], None), (False, ["polite", "length"], 7), (True, ["length"], None)],
)
def test_only_code_in_the_process_of_the_job_makes_it_give_up(
    online, isolates, names, patience_seconds
):
    judge = make_judge(name="polite", instructions="Is {{ outputs }} polite?", model="gateway:/e")
    sampler = OnlineScorerSampler([online(judge), online(length)])

    with Isolation(sampler, isolates, patience_seconds=7) as isolation:
        assert isolation.begin([sampler.scorer(name) for name in names]) == patience_seconds


@pytest.mark.parametrize("level", ["trace", "session"])
def test_a_job_whose_scorers_do_not_answer_any_more_gives_up(
    store, experiment_id, add_trace, assessments_of, online, level
):
    gate = threading.Event()
    add_trace("a", 1_700_000_000_000, "s1")
    with _job_executor_scorer_context():
        sampler = OnlineScorerSampler([online(length if level == "trace" else turns)])
    stuck = sampler.scorer("length" if level == "trace" else "turns")
    object.__setattr__(stuck, "run", lambda **_: gate.wait())

    with Isolation(sampler, isolates=False, patience_seconds=0.1) as isolation:
        if level == "trace":
            scoring = TraceBatchScoring(sampler, OnlineTraceLoader(store), isolation=isolation)
            (trace,) = store.search_traces([experiment_id])[0]
            batch = [{"trace_id": trace.trace_id, "scorers": ["length"]}]
        else:
            scoring = SessionBatchScoring(experiment_id, sampler, store, isolation=isolation)
            batch = [
                {
                    "session_id": "s1",
                    "first_trace_timestamp_ms": 1_700_000_000_000,
                    "last_trace_timestamp_ms": 1_700_000_000_000,
                    "scorers": ["turns"],
                }
            ]
        try:
            with pytest.raises(MlflowException, match="within 0.1 seconds; 1 traces or sessions"):
                scoring.run(batch)
        finally:
            gate.set()
