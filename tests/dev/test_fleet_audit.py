"""The audit of a fleet finds each kind of broken promise, and nothing where all were kept."""

import dataclasses
import json

import pytest

from dev.chaos.fleet_audit import Change, Job, audit

PENDING, RUNNING, SUCCEEDED, FAILED, TIMEOUT, CANCELED, NEEDS_RECOVERY = range(7)
MS = 1_000_000
RUNNER, NEXT_RUNNER, CHILD, NEXT_CHILD = 70, 71, 700, 710


def result(fence, pid):
    return json.dumps({"fence": fence, "pid": pid})


def change(at_ms, old_status, status, old_fence=1, fence=1, **facts):
    runner = {1: f"host:{RUNNER}:ab", 2: f"host:{NEXT_RUNNER}:cd"}.get(fence)
    facts = {"claimed_by": runner, "result": None, "status_message": None, "job": "a", **facts}
    return Change(
        at_ms=at_ms,
        old_status=old_status,
        status=status,
        old_fence=old_fence,
        fence=fence,
        **facts,
    )


def told(what, at_ms, **facts):
    return {"what": what, "at": at_ms * MS, "by": "p", **facts}


def did(what, at_ms, fence=1, job="a", **facts):
    pid = CHILD if fence == 1 else NEXT_CHILD
    return told(what, at_ms, **{"job": job, "fence": fence, "pid": pid, "key": None, **facts})


# A job whose runner was killed, which another runner took up again and ended. The database's clock
# is 1000 ms ahead of the effect log's.
JOB = Job("a", "chaos_plain", SUCCEEDED, 2, result(2, NEXT_CHILD), None)
HISTORY = [
    change(1010, PENDING, RUNNING, 0),
    change(5100, RUNNING, NEEDS_RECOVERY),
    change(5200, NEEDS_RECOVERY, PENDING),
    change(5300, PENDING, RUNNING, 1, 2),
    change(6000, RUNNING, SUCCEEDED, 2, 2, result=JOB.result),
]
LOG = [
    told("calibrated", 0, ms=1000),
    told("submitting", 5, job="a"),
    told("submitted", 6, job="a"),
    did("started", 20),
    did("worked", 30),
    told("fault", 100, kind="kill-runner", pids=[RUNNER], ms=1100),
    told("ended runner", 110, pid=RUNNER, code=-9, ms=1110),
    did("started", 4400, 2),
    did("worked", 4500, 2),
    did("ended", 4900, 2),
]


def found(jobs=(JOB,), changes=HISTORY, log=LOG):
    return audit(([*jobs], [*changes]), [*log])


def only(findings, kind, words):
    (sentence,) = findings.broken
    return sentence.startswith(f"{kind}: ") and words in sentence


def test_a_run_that_kept_every_promise_has_no_problem():
    findings = found()

    assert findings.broken == []
    assert findings.attempts == 2
    assert findings.jobs == {("chaos_plain", SUCCEEDED): 1}
    assert findings.faults == {"kill-runner": 1}


def test_the_time_to_recover_counts_from_the_kill_until_the_job_is_free():
    assert found().recoveries_ms == {"kill-runner": [5200 - 1100]}


def test_a_job_that_was_not_under_way_on_the_killed_runner_took_no_time_to_recover():
    elsewhere = [dataclasses.replace(each, claimed_by="host:99:ef") for each in HISTORY]

    assert found(changes=elsewhere).recoveries_ms == {}


def test_a_runner_that_its_own_job_killed_counts_from_its_end():
    log = [each for each in LOG if each["what"] != "fault"]

    assert [*found(log=log).recoveries_ms.values()] == [[5200 - 1110]]


def test_a_runner_that_drained_is_no_recovery():
    log = [each | {"kind": "drain"} if "pids" in each else each for each in LOG]
    log = [each | {"code": 0} if each["what"] == "ended runner" else each for each in log]

    assert found(log=log).recoveries_ms == {}


def test_an_accepted_job_that_is_not_there_is_found():
    log = [*LOG, told("submitting", 5, job="b"), told("submitted", 6, job="b")]

    assert only(found(log=log), "lost", "b was accepted")


def test_a_job_whose_submission_was_never_answered_may_be_there_or_not():
    assert found(log=[*LOG, told("submitting", 5, job="b")]).broken == []
    assert found(log=[each for each in LOG if each["what"] != "submitted"]).broken == []


@pytest.mark.parametrize("status", [PENDING, RUNNING, NEEDS_RECOVERY])
def test_a_job_that_has_not_ended_is_found(status):
    assert only(found([dataclasses.replace(JOB, status=status)]), "lost", "has not ended")


def test_a_second_end_is_found():
    twice = [*HISTORY, change(6100, SUCCEEDED, FAILED, 2, 2)]

    assert only(found(changes=twice), "doubled", "went from 2 to 3")


def test_two_attempts_under_one_fence_are_found():
    log = [*LOG, did("started", 4950, 2, pid=720)]

    assert only(found(log=log), "doubled", "begun 2 times under fence 2")


def test_work_after_the_next_attempt_began_is_found():
    findings = found(log=[*LOG, did("worked", 4450)])

    assert findings.problems["overlapping"]
    assert findings.problems["late"]


def test_work_under_one_key_by_two_jobs_at_once_is_found():
    keyed = [each | {"key": "k"} if "key" in each else each for each in LOG]
    log = [
        *keyed,
        told("submitting", 4000, job="b"),
        did("started", 4410, job="b", pid=730, key="k"),
        did("worked", 4420, job="b", pid=730, key="k"),
        did("ended", 4430, job="b", pid=730, key="k"),
    ]
    other = Job("b", "chaos_exclusive", SUCCEEDED, 1, result(1, 730), "k")

    assert only(found([JOB, other], log=log), "overlapping", "key k")


def test_work_after_recovery_is_found_though_nobody_else_had_begun():
    assert only(found(log=[*LOG, did("worked", 4380)]), "late", "180 ms after its recovery")


def test_work_until_recovery_is_no_problem():
    assert found(log=[*LOG, did("worked", 4190)]).broken == []


def test_a_result_of_another_attempt_is_found():
    stale = [*HISTORY[:-1], dataclasses.replace(HISTORY[-1], result=result(1, CHILD))]

    assert only(found(changes=stale), "stale", "under fence 2 got the result of 1")


@pytest.mark.parametrize(("fence", "is_stale"), [(1, True), (2, False)])
def test_progress_of_another_attempt_is_found(fence, is_stale):
    report = change(5400, RUNNING, RUNNING, 2, 2, status_message=f"fence {fence}")
    findings = found(changes=[*HISTORY[:-1], report, HISTORY[-1]])

    assert bool(findings.problems["stale"]) is is_stale


def test_a_fence_that_falls_is_found():
    fallen = [*HISTORY[:3], change(5300, PENDING, RUNNING, 3, 2), HISTORY[-1]]

    assert only(found(changes=fallen), "stale", "fell from 3 to 2")


def test_a_success_that_no_attempt_had_is_found():
    log = [each for each in LOG if each["what"] != "ended"]

    assert only(found(log=log), "unexplained", "a success that no attempt had")


def test_a_success_of_a_job_that_cannot_end_well_is_found():
    doomed = dataclasses.replace(JOB, name="chaos_poison")

    assert only(found([doomed]), "unexplained", "a success that no attempt had")


FAILURE = dataclasses.replace(JOB, status=FAILED, result="It failed.")


def test_a_failure_without_a_cause_is_found():
    assert only(found([FAILURE], HISTORY[:-1]), "unexplained", "(chaos_plain) failed: It failed.")


@pytest.mark.parametrize("pid", [CHILD, NEXT_CHILD])
def test_a_failure_of_a_job_whose_process_was_killed_is_no_problem(pid):
    killed = told("fault", 4600, kind="kill-job", pids=[pid], ms=5600)

    assert found([FAILURE], HISTORY[:-1], [*LOG, killed]).broken == []


@pytest.mark.parametrize(("at_ms", "is_explained"), [(500, False), (1100, True), (7000, False)])
def test_a_process_that_was_killed_before_it_told_its_job_explains_what_failed_about_then(
    at_ms, is_explained
):
    killed = told("fault", at_ms - 1000, kind="kill-job", pids=[999], ms=at_ms)
    findings = found([FAILURE], HISTORY[:-1], [*LOG, killed])

    assert (findings.broken == []) is is_explained


def test_a_failure_of_a_job_that_kills_itself_is_no_problem():
    assert found([dataclasses.replace(FAILURE, name="chaos_crashing")], HISTORY[:-1]).broken == []


def test_a_job_that_was_recovered_too_often_is_set_aside():
    again = [change(at_ms, RUNNING, NEEDS_RECOVERY) for at_ms in (5100, 5110, 5120)]
    findings = found([FAILURE], [*again, *HISTORY[1:-1]])

    assert findings.problems["unexplained"] == []
    assert findings.set_aside == 1


def test_a_job_that_nobody_submitted_is_found():
    log = [each for each in LOG if each["what"] not in ("submitting", "submitted")]

    assert only(found(log=log), "unexplained", "submitted by nobody")


@pytest.mark.parametrize(("text", "key"), [(None, None), ("Not run: held.", None), ("else", "k")])
def test_a_cancellation_that_nobody_asked_for_is_found(text, key):
    canceled = dataclasses.replace(JOB, status=CANCELED, result=text, key=key)

    assert only(found([canceled], HISTORY[:-1]), "unexplained", "nobody canceled it")


def test_a_cancellation_that_was_asked_for_or_lost_its_lock_is_no_problem():
    canceled = dataclasses.replace(JOB, status=CANCELED, result=None)
    locked_out = dataclasses.replace(canceled, result="Not run: held.", key="k")

    assert found([canceled], HISTORY[:-1], [*LOG, told("canceling", 40, job="a")]).broken == []
    assert found([locked_out], HISTORY[:-1]).broken == []


def test_a_cancellation_that_was_confirmed_and_did_not_last_is_found():
    log = [*LOG, told("canceling", 40, job="a"), told("canceled", 41, job="a")]

    assert only(found(log=log), "unexplained", "was canceled, and its status is 2")


def test_a_timeout_that_nobody_set_is_found():
    timed_out = dataclasses.replace(JOB, status=TIMEOUT)

    assert only(found([timed_out], HISTORY[:-1]), "unexplained", "timed out")
