"""Whatever a scorer does to its own process, whoever asked it hears of it in time."""

import os
import signal
import sys

import pytest

from mlflow.exceptions import MlflowException
from mlflow.genai import scorer
from mlflow.genai.scorers.online import scorer_process
from mlflow.genai.scorers.online.scorer_process import ScorerProcess

_PATIENCE_SECONDS = 30


@scorer
def length(outputs) -> int:
    return len(outputs)


@scorer
def deaf(outputs) -> int:
    import os
    import signal

    os.closerange(3, 256)
    signal.pause()


@scorer
def parent(outputs) -> int:
    import os
    import signal

    if os.fork() == 0:
        signal.pause()
    os._exit(3)


@scorer
def verbose(outputs) -> str:
    return outputs * (5 * 2**20)


@scorer
def noisy(outputs) -> int:
    import sys

    for stream in (sys.stdout, sys.stderr):
        stream.write("n" * 2**20)
        stream.flush()
    return len(outputs)


@pytest.fixture
def start(online):
    started = []

    def start(scorer, patience_seconds=_PATIENCE_SECONDS):
        started.append(ScorerProcess(online(scorer), patience_seconds))
        return started[-1]

    yield start
    for process in started:
        process.close()


@pytest.fixture
def trace_of(store, add_trace):
    def trace_of(outputs):
        (trace,) = store.batch_get_traces([add_trace(outputs)])
        return trace

    return trace_of


@pytest.mark.timeout(90)
def test_one_that_closes_its_connection_is_not_waited_for(start, trace_of, monkeypatch):
    monkeypatch.setattr(scorer_process, "_END_SECONDS", 0.5)

    with pytest.raises(MlflowException, match="it closed its connection"):
        start(deaf).ask([trace_of("hello")], None)


def test_a_process_that_it_forked_does_not_hide_its_end(start, trace_of):
    with pytest.raises(MlflowException, match="exited with error code 3"):
        start(parent).ask([trace_of("hello")], None)


@pytest.mark.timeout(90)
def test_one_that_takes_no_question_is_not_waited_for(start, trace_of):
    process = start(length, patience_seconds=1)
    process.ask([trace_of("hello")], None)
    os.kill(process._process.pid, signal.SIGSTOP)

    with pytest.raises(MlflowException, match="did not answer within 1 seconds"):
        process.ask([trace_of("h" * 2**20)], None)


def test_an_answer_too_large_to_be_stored_costs_that_answer_alone(start, trace_of):
    process = start(verbose)

    with pytest.raises(MlflowException, match=r"answer of 41943\d+ bytes is too large"):
        process.ask([trace_of("12345678")], None)

    (answer,) = process.ask([trace_of("1")], None)
    assert len(answer.value) == 5 * 2**20


def test_a_large_trace_and_what_it_prints_hold_up_nobody(start, trace_of):
    (answer,) = start(noisy).ask([trace_of("h" * 2**22)], None)

    assert answer.value == 2**22


def test_one_that_cannot_be_started_is_an_error_like_any_other(start, trace_of, monkeypatch):
    process = start(length)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(MlflowException, match="could not be started: .*nowhere"):
            process.ask([trace_of("hello")], None)

    (answer,) = process.ask([trace_of("hello")], None)
    assert answer.value == 5
