"""The audit of a fleet finds each kind of broken promise, and nothing where all were kept."""

import dataclasses
import json

import pytest

from dev.chaos.fleet_audit import Job, Left, audit
from dev.chaos.history import Change, Leading
from dev.chaos.recoveries import BY_ITSELF

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


MAX_RETRIES = 2


def found(jobs=(JOB,), changes=HISTORY, log=LOG, leaders=()):
    return audit(Left([*jobs], [*changes], [*leaders]), [*log], MAX_RETRIES)


def only(findings, kind, words):
    """Nothing else is found than this."""
    (sentence,) = findings.broken
    return sentence.startswith(f"{kind}: ") and words in sentence


def test_a_run_that_kept_every_promise_has_no_problem():
    findings = found()

    assert findings.broken == []
    assert findings.attempts == 2
    assert findings.jobs == {("chaos_plain", SUCCEEDED): 1}
    assert findings.faults == {"kill-runner": 1}


def test_a_recovery_is_timed_from_the_kill_through_all_its_stages():
    (recovery,) = found().recoveries

    killed_ms = 1100
    assert (recovery.way, recovery.led, recovery.hindered) == ("kill-runner", False, False)
    assert recovery.marked_ms == 5100 - killed_ms
    assert recovery.free_ms == 5200 - killed_ms
    assert recovery.claimed_ms == 5300 - killed_ms
    assert recovery.at_work_ms == 5400 - killed_ms


def test_a_lost_job_that_ended_after_all_was_never_marked_nor_claimed_again():
    ended = [HISTORY[0], change(1400, RUNNING, SUCCEEDED, result=result(1, CHILD))]
    again = [*ended, change(2000, SUCCEEDED, NEEDS_RECOVERY)]

    (recovery,) = found(changes=again).recoveries

    assert recovery.free_ms == 1400 - 1100
    assert recovery.marked_ms is None
    assert (recovery.claimed_ms, recovery.at_work_ms) == (None, None)


def test_a_recovery_is_at_work_with_the_first_attempt_that_told_of_it():
    lost_again = [*HISTORY[:4], change(5350, PENDING, RUNNING, 2, 3), HISTORY[-1]]
    log = [each | {"fence": 3} if each.get("fence") == 2 else each for each in LOG]

    (recovery,) = found(changes=lost_again, log=log).recoveries

    assert (recovery.claimed_ms, recovery.at_work_ms) == (5300 - 1100, 5400 - 1100)


def test_a_recovery_says_whether_the_killed_runner_led():
    led = [Leading(1001, f"host:{NEXT_RUNNER}:cd"), Leading(1050, f"host:{RUNNER}:ab")]
    later = Leading(1150, f"host:{NEXT_RUNNER}:cd")

    assert [each.led for each in found(leaders=[*led, later]).recoveries] == [True]
    assert [each.led for each in found(leaders=[led[0], later]).recoveries] == [False]


def up_and_down(*events):
    return [told(what, at_ms - 1000, who=who, ms=at_ms) for what, who, at_ms in events]


@pytest.mark.parametrize(
    ("events", "is_hindered"),
    [
        ([("up", "one", 1000), ("up", "two", 1000), ("down", "one", 1110)], False),
        ([("up", "one", 1000), ("down", "one", 1110), ("up", "one", 3000)], True),
        ([("up", "one", 1000), ("down", "database", 3000), ("up", "database", 3100)], True),
        ([("up", "one", 1000), ("down", "database", 6000)], False),
        ([("up", "one", 1000), ("down", "one", 1050)], True),
    ],
)
def test_a_recovery_while_nobody_could_recover_is_told_apart(events, is_hindered):
    (recovery,) = found(log=[*LOG, *up_and_down(*events)]).recoveries

    assert recovery.hindered is is_hindered


def test_a_job_that_was_not_under_way_on_the_killed_runner_was_not_recovered():
    elsewhere = [dataclasses.replace(each, claimed_by="host:99:ef") for each in HISTORY]

    assert found(changes=elsewhere).recoveries == []


def test_a_runner_that_its_own_job_killed_counts_from_its_end():
    log = [each for each in LOG if each["what"] != "fault"]

    (recovery,) = found(log=log).recoveries

    assert (recovery.way, recovery.free_ms) == (BY_ITSELF, 5200 - 1110)


def test_a_runner_that_drained_is_no_recovery():
    log = [each | {"kind": "drain"} if "pids" in each else each for each in LOG]
    log = [each | {"code": 0} if each["what"] == "ended runner" else each for each in log]

    assert found(log=log).recoveries == []


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


CRASHING = dataclasses.replace(FAILURE, name="chaos_crashing")


def test_a_failure_of_a_job_that_kills_itself_is_no_problem():
    assert found([CRASHING], HISTORY[:-1], [*LOG, did("crashing", 4600, 2)]).broken == []


def test_a_failure_of_a_job_that_had_not_come_to_killing_itself_is_found():
    assert only(found([CRASHING], HISTORY[:-1]), "unexplained", "(chaos_crashing) failed")


def test_a_job_that_crashed_and_was_begun_again_is_found():
    crashes = [did("crashing", 35), did("crashing", 40), did("crashing", 4600, 2)]
    findings = found([CRASHING], HISTORY[:-1], [*LOG, *crashes])

    assert only(findings, "repeated", "crashed 3 times, and was taken from a runner 1")


POISON = dataclasses.replace(
    FAILURE, name="chaos_poison", recoveries=MAX_RETRIES + 1, crashes=MAX_RETRIES + 1
)


def kills_of_runners(count):
    return [did("poisoning", 31 + number, 1 + number % 2) for number in range(count)]


def test_a_poison_that_was_set_aside_with_its_history_is_no_problem():
    findings = found([POISON], HISTORY[:-1], [*LOG, *kills_of_runners(MAX_RETRIES + 1)])

    assert findings.broken == []
    assert findings.set_aside == 1


def test_a_poison_that_was_begun_too_often_is_found():
    findings = found([POISON], HISTORY[:-1], [*LOG, *kills_of_runners(MAX_RETRIES + 2)])

    assert only(findings, "repeated", f"was let to kill {MAX_RETRIES + 2} runners")


def test_a_job_that_was_recovered_too_often_is_found():
    once_more = dataclasses.replace(POISON, recoveries=MAX_RETRIES + 2, crashes=MAX_RETRIES + 2)

    assert only(found([once_more], HISTORY[:-1]), "repeated", "given up, 4 times")


def test_a_poison_that_failed_before_it_was_set_aside_is_found():
    too_soon = dataclasses.replace(POISON, recoveries=MAX_RETRIES, crashes=MAX_RETRIES)

    assert only(found([too_soon], HISTORY[:-1]), "unexplained", "(chaos_poison) failed")


def test_a_job_that_was_set_aside_without_its_history_is_found():
    forgotten = dataclasses.replace(POISON, crashes=1)

    assert only(found([forgotten], HISTORY[:-1]), "unexplained", "crashed 3 times, and shows 1")


def attempts(job, fences, crashes_before=0, end=PENDING):
    """Attempts that crashed one after the other, each on a runner of its own."""
    changes = []
    for number, fence in enumerate(fences, crashes_before):
        facts = {"job": job, "fence": fence, "claimed_by": f"host:{100 + fence}:ab"}
        changes += [
            change(1000 * fence, PENDING, RUNNING, fence - 1, crashes=number, **facts),
            change(1000 * fence + 5, RUNNING, NEEDS_RECOVERY, fence, crashes=number, **facts),
            change(1000 * fence + 6, NEEDS_RECOVERY, PENDING, fence, crashes=number + 1, **facts),
        ]
    changes[-1] = dataclasses.replace(changes[-1], status=end)
    return changes


NEIGHBOUR = dataclasses.replace(POISON, name="chaos_plain")
SET_ASIDE = attempts("a", range(1, MAX_RETRIES + 2), end=FAILED)
SUSPICIOUS_FROM = MAX_RETRIES // 2 + 2


def poisonings(*fences):
    facts = {"job": "p", "pid": CHILD}
    return [*LOG[:3], *(told("poisoning", 10, fence=each, **facts) for each in fences)]


def test_a_job_that_was_set_aside_for_a_poison_beside_it_is_found():
    poison = attempts("p", range(1, MAX_RETRIES + 2))

    findings = found([NEIGHBOUR], SET_ASIDE + poison, poisonings(*range(1, MAX_RETRIES + 2)))

    assert len(findings.broken) == MAX_RETRIES + 2 - SUSPICIOUS_FROM
    assert findings.broken[0].startswith("blamed: ")
    assert f"crash {SUSPICIOUS_FROM} was a poison's" in findings.broken[0]


def test_a_job_that_was_set_aside_beside_a_poison_before_that_was_known_is_no_problem():
    poison = attempts("p", range(SUSPICIOUS_FROM, MAX_RETRIES + 2))

    findings = found([NEIGHBOUR], SET_ASIDE + poison, poisonings(SUSPICIOUS_FROM))

    assert findings.broken == []
    assert findings.set_aside == 1


def test_an_orderly_failure_clears_a_job_until_its_next_crash():
    poison = attempts("p", range(1, MAX_RETRIES + 2))
    retried = change(
        1, RUNNING, PENDING, job="a", fence=SUSPICIOUS_FROM, crashes=SUSPICIOUS_FROM - 1
    )
    at = next(number for number, each in enumerate(SET_ASIDE) if each.fence == SUSPICIOUS_FROM)
    neighbour = [*SET_ASIDE[:at], retried, *SET_ASIDE[at:]]

    findings = found([NEIGHBOUR], neighbour + poison, poisonings(SUSPICIOUS_FROM))

    assert findings.broken == []


AGAIN = [each | {"what": "resubmitted"} if each["what"] == "submitting" else each for each in LOG]


def test_a_poison_that_was_submitted_again_and_succeeded_is_no_problem():
    assert found([dataclasses.replace(JOB, name="chaos_poison")], log=AGAIN).broken == []


def test_a_poison_that_was_submitted_again_and_did_not_succeed_is_found():
    assert only(found([POISON], HISTORY[:-1], AGAIN), "unexplained", "its status is 3")


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
