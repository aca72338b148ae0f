"""A batch whose job gave no result is tried again with more care, and stops no other scorer."""

import json

import pytest

import mlflow
from mlflow.genai import scorer
from mlflow.genai.scorers.job import ONLINE_TRACE_SCORER_JOB_NAME, run_online_trace_scorer_job
from mlflow.server.jobs.discovery.batches import Position
from mlflow.server.jobs.discovery.repetitions import USUAL, Care, Repetitions
from mlflow.store.jobs.values import CheckpointMove
from tests.server.jobs.discovery.scenes import (
    HOUR_MS,
    MINUTE_MS,
    batch_ids,
    finish,
    make_discovery,
    params_of,
)

HERE, THERE = Position(5, "a"), Position(6, "b")


@scorer
def length(outputs) -> int:
    return len(outputs)


@scorer
def fatal(outputs) -> int:
    import os

    os._exit(1)


def test_the_first_try_is_the_usual_one():
    tried = Repetitions()
    assert tried.care("key", HERE, 0) == USUAL
    tried.note("key", HERE, 0)

    assert tried.care("key", THERE, 0) == USUAL
    assert tried.care("other", HERE, 0) == USUAL


def test_a_repetition_isolates_and_each_further_one_is_smaller():
    tried = Repetitions()
    cares = []
    for _ in range(9):
        cares.append(tried.care("key", HERE, 0))
        tried.note("key", HERE, 0)

    assert cares[:4] == [USUAL, Care(True, 1), Care(True, 8), Care(True, 64)]
    assert cares[-1] == cares[-2] == Care(True, 8**4)


def test_what_follows_a_repetition_is_isolated_for_an_hour():
    tried = Repetitions()
    tried.note("key", HERE, 0)
    tried.note("key", HERE, MINUTE_MS)

    assert tried.care("key", THERE, 2 * MINUTE_MS) == Care(isolate=True)
    tried.note("key", THERE, 2 * MINUTE_MS)
    assert tried.care("key", Position(7), MINUTE_MS + HOUR_MS) == USUAL


def test_isolation_that_was_too_short_lasts_longer_and_a_day_at_most():
    tried = Repetitions()
    now_ms, lasted = 0, []
    for number in range(7):
        tried.note("key", Position(number), now_ms)
        tried.note("key", Position(number), now_ms)
        began_ms = now_ms
        while tried.care("key", Position(number + 1), now_ms).isolate:
            now_ms += HOUR_MS
        lasted.append((now_ms - began_ms) // HOUR_MS)

    assert lasted == [1, 2, 4, 8, 16, 24, 24]


def test_isolation_lasts_an_hour_again_after_a_job_without_it_had_a_result():
    tried = Repetitions()
    for now_ms in (0, HOUR_MS):
        tried.note("key", Position(now_ms), now_ms)
        tried.note("key", Position(now_ms), now_ms)
    for number in (1, 2):
        tried.note("key", Position(number), 3 * HOUR_MS)
    tried.note("key", Position(2), 3 * HOUR_MS)

    assert tried.care("key", THERE, 4 * HOUR_MS - 1).isolate
    assert not tried.care("key", THERE, 4 * HOUR_MS).isolate


def test_what_follows_a_cut_batch_is_cut_alike_and_not_isolated_for_ever():
    tried = Repetitions()
    for _ in range(4):
        tried.note("key", HERE, 0)

    assert tried.care("key", THERE, MINUTE_MS) == Care(True, 8)
    tried.note("key", THERE, MINUTE_MS)
    assert tried.care("key", Position(7), HOUR_MS) == USUAL


def test_what_fails_while_it_is_isolated_is_cut_at_once():
    tried = Repetitions()
    tried.note("key", HERE, 0)
    tried.note("key", HERE, 0)
    tried.note("key", THERE, MINUTE_MS)

    assert tried.care("key", THERE, 2 * MINUTE_MS) == Care(True, 8)


def test_what_is_scored_no_more_is_forgotten():
    tried = Repetitions()
    tried.note("key", HERE, 0)
    tried.forget_all_but({"other"})

    assert tried.care("key", HERE, 0) == USUAL


@pytest.fixture
def fail_the_job(job_store):
    def fail():
        capacity = {ONLINE_TRACE_SCORER_JOB_NAME: 1}
        (job,) = job_store.claim_batch("r", ["local"], capacity, 60, lambda *_: None).claimed
        job_store.fail(job.claim, "its process ended")

    return fail


def test_after_a_job_without_a_result_scorers_are_isolated_and_then_the_batch_is_cut(
    tracking_store, job_store, term, schedule, add_trace, window_end, fail_the_job
):
    discovery = make_discovery(tracking_store, job_store, max_entries=16)
    schedule()
    ids = [add_trace(window_end - 100 + number, f"t{number:02}") for number in range(16)]

    for _ in range(3):
        discovery.run(term)
        fail_the_job()
    discovery.run(term)

    tries = [(params.get("isolate"), len(params["batch"])) for params in params_of(job_store)]
    assert tries == [(None, 16), (True, 16), (True, 2), (True, 1)]
    assert batch_ids(finish(job_store)) == ids[:1]
    discovery.run(term)
    rest = finish(job_store)
    assert (rest["isolate"], batch_ids(rest)) == (True, ids[1:3])


def test_a_scorer_that_ends_its_job_gets_errors_and_the_others_their_answers(
    tracked, tracking_store, job_store, experiment_id, term, window_end, fail_the_job
):
    for each in (length, fatal):
        tracking_store.register_scorer(experiment_id, each.name, json.dumps(each.model_dump()))
        tracking_store.upsert_online_scoring_config(experiment_id, each.name, 1.0)
    start_ns = (window_end - MINUTE_MS) * 10**6
    span = mlflow.start_span_no_context(
        "answer", experiment_id=experiment_id, start_time_ns=start_ns
    )
    span.set_outputs("hello")
    span.end(end_time_ns=start_ns + 10**6)
    discovery = make_discovery(tracking_store, job_store)
    discovery.run(term)
    # What becomes of a job whose process `fatal` has ended; it would end this one.
    fail_the_job()

    discovery.run(term)
    capacity = {ONLINE_TRACE_SCORER_JOB_NAME: 1}
    (job,) = job_store.claim_batch("r", ["local"], capacity, 60, lambda *_: None).claimed
    result = run_online_trace_scorer_job(**job.params)
    job_store.succeed(
        job.claim, json.dumps(result), CheckpointMove(**job.params["next_checkpoint"])
    )
    discovery.run(term)

    (trace,) = tracking_store.batch_get_traces([span.trace_id])
    said = {each.name: each for each in trace.info.assessments}
    assert said["length"].value == 5
    assert "exited with error code 1" in said["fatal"].error.error_message
    assert len(list(job_store.list_jobs())) == 2
