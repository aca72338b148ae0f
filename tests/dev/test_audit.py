"""The audit of a chaos run finds each kind of broken promise, and nothing where all were kept."""

import dataclasses
from pathlib import Path

import pytest

from dev.chaos import effects
from dev.chaos.audit import CANCELED, FAILED, SUCCEEDED, Row, audit

RUNNING = 1


def done(what, at, job="a", fence=1, by="p1", **facts):
    return {"what": what, "at": at, "job": job, "fence": fence, "by": by, **facts}


def claimed(at, **facts):
    return done("claimed", at, **{"key": None, **facts})


def worked(at, **facts):
    return done("worked", at, **{"key": None, **facts})


def written(at, verb="succeed", answer="APPLIED", value="v1", **facts):
    return done("written", at, verb=verb, answer=answer, value=value, began=at - 1, **facts)


def writing(at, verb="succeed", value="v1", **facts):
    return done("writing", at, verb=verb, value=value, **facts)


ROW = Row("a", SUCCEEDED, 1, "v1", 0, None)
# A job that was retried once and then ended well, with an owner that slept over its end.
ROWS = [Row("a", SUCCEEDED, 3, "v3", 1, "k"), Row("b", CANCELED, 1, "Not run: held.", 0, "k")]
LOG = [
    claimed(1, key="k"),
    worked(2, key="k"),
    writing(3, verb="retry", value="v1"),
    written(4, verb="retry", value="v1"),
    claimed(5, fence=2, by="p2", key="k"),
    worked(6, fence=2, by="p2", key="k"),
    claimed(10, fence=3, key="k"),
    worked(11, fence=3, key="k"),
    writing(12, fence=3, value="v3"),
    written(13, fence=3, value="v3"),
    writing(14, fence=2, by="p2", value="v2"),
    written(15, fence=2, by="p2", value="v2", answer="CLAIM_LOST"),
]


def only(problems, words):
    return len(problems) == 1 and words in problems[0]


def test_a_run_that_kept_every_promise_has_no_problem():
    assert audit(ROWS, LOG, 2) == []


def test_the_order_of_the_log_does_not_matter():
    assert audit(ROWS, reversed(LOG), 2) == []


def test_an_end_whose_writer_was_killed_before_it_could_log_the_answer_is_no_problem():
    assert audit([ROW], [claimed(1), writing(2)], 1) == []


def test_a_missing_job_is_found():
    assert only(audit(ROWS, LOG, 3), "There are 2 jobs, not 3")


@pytest.mark.parametrize("status", [0, RUNNING, 6])
def test_a_job_that_is_not_terminal_is_found(status):
    row = dataclasses.replace(ROW, status=status, result=None)

    assert only(audit([row], [claimed(1)], 1), "is not terminal")


def test_two_ends_are_found():
    log = [claimed(1), writing(2), written(3), writing(4, verb="fail"), written(5, verb="fail")]

    assert any("ended more than once" in each for each in audit([ROW], log, 1))


def test_a_success_that_was_canceled_as_well_is_found():
    log = [claimed(1), writing(2), written(3), done("canceling", 4), done("canceled", 5)]

    problems = audit([ROW], log, 1)

    assert any("ended more than once" in each for each in problems)
    assert any("was canceled, and its row says otherwise" in each for each in problems)


@pytest.mark.parametrize(
    "planted", [{"result": "another's"}, {"fence": 2}, {"status": FAILED}, {"result": None}]
)
def test_a_row_that_differs_from_what_was_applied_is_found(planted):
    row = dataclasses.replace(ROW, **planted)
    log = [claimed(1), writing(2), written(3)]

    assert any("its row says otherwise" in each for each in audit([row], log, 1))


def test_an_end_that_nobody_wrote_is_found():
    assert only(audit([ROW], [claimed(1)], 1), "an end that nobody wrote")


@pytest.mark.parametrize(("result", "key"), [(None, None), ("Not run: held.", None), ("else", "k")])
def test_a_cancellation_that_nobody_asked_for_is_found(result, key):
    row = Row("a", CANCELED, 1, result, 0, key)

    assert only(audit([row], [claimed(1)], 1), "nobody canceled it")


def test_a_lost_retry_and_one_too_many_are_found():
    log = [claimed(1), writing(2, verb="retry"), written(3, verb="retry")]
    log += [claimed(4, fence=2), writing(5, fence=2), written(6, fence=2)]

    for retries in (0, 2):
        row = dataclasses.replace(ROW, fence=2, retries=retries)
        assert only(audit([row], log, 1), f"counts {retries} retries")


def test_two_owners_of_one_fence_are_found():
    log = [claimed(1), claimed(2, by="p2"), writing(3), written(4)]

    assert only(audit([ROW], log, 1), "claimed 2 times under fence 1")


def test_a_fence_that_falls_is_found():
    row = dataclasses.replace(ROW, fence=2, result="v2")
    log = [claimed(1, fence=2), claimed(2, fence=1)]
    log += [writing(3, fence=2, value="v2"), written(4, fence=2, value="v2")]

    assert only(audit([row], log, 1), "falling fences")


@pytest.mark.parametrize("verb", ["progress", "confirm_canceled"])
def test_a_write_of_an_owner_that_came_after_the_next_claim_is_found(verb):
    stale = written(16, verb=verb, fence=2, by="p2", value=None)

    assert only(audit(ROWS, [*LOG, stale], 2), "stale write")


def test_a_write_that_began_before_the_next_claim_was_there_is_no_problem():
    in_time = written(16, verb="progress", fence=2, by="p2", value=None) | {"began": 9}

    assert audit(ROWS, [*LOG, in_time], 2) == []


def test_work_on_one_job_by_two_owners_at_once_is_found():
    late = worked(11, fence=2, by="p2", key=None)

    assert only(audit(ROWS, [*LOG, late], 2), "job a")


def test_work_on_two_jobs_of_one_key_at_once_is_found():
    rows = [*ROWS, Row("c", SUCCEEDED, 1, "v1", 0, "k")]
    log = [
        *LOG,
        claimed(1, job="c", by="p3", key="k"),
        worked(5, job="c", by="p3", key="k"),
        worked(7, job="c", by="p3", key="k"),
        writing(8, job="c", by="p3"),
        written(9, job="c", by="p3"),
    ]

    assert only(audit(rows, log, 3), "key k: ('c', 1)") or only(
        audit(rows, log, 3), "key k: ('a', 2)"
    )


def test_the_log_survives_a_kill_in_the_middle_of_a_line(tmp_path: Path):
    log = effects.EffectLog(tmp_path)
    log.write("claimed", job="a", fence=1)
    (path,) = tmp_path.glob("*.jsonl")
    with path.open("a") as file:
        file.write('{"what": "wor')

    (only_one,) = effects.read(tmp_path)

    assert (only_one["what"], only_one["job"], only_one["fence"]) == ("claimed", "a", 1)
