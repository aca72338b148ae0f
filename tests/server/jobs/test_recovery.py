"""The backend is asked what became of a job, then exactly one thing is done."""

import logging
import threading

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.server.jobs.executor import JobRecoveryResult
from mlflow.server.jobs.recovery import Recovery
from mlflow.store.jobs.values import Term
from tests.server.jobs.fakes import (
    LEASE_SECONDS,
    PATIENCE_SECONDS,
    ScriptedExecutor,
    pass_lease,
    reclaim,
)

MAX_RECOVERIES = 2


@pytest.fixture
def other_executor():
    return ScriptedExecutor()


@pytest.fixture
def resumed():
    return []


@pytest.fixture
def recovery(job_store, executor, other_executor, clock, resumed):
    return Recovery(
        job_store,
        {None: executor, "local": executor, "scripted": other_executor},
        clock,
        "b",
        LEASE_SECONDS,
        MAX_RECOVERIES,
        lambda candidate, claim, trust_until: resumed.append((claim, trust_until)),
        answer_seconds=PATIENCE_SECONDS,
    )


@pytest.fixture
def abandoned(job_store, claim_one):
    """A job that waits for recovery; answers its id."""

    def abandon(**fields) -> str:
        job = claim_one(**fields)
        job_store.abandon([job.claim])
        return job.claim.job_id

    return abandon


@pytest.fixture
def of_another_backend(job_store, make_pending):
    """A job of a backend that only another replica has, claimed by it."""

    def claim(backend="ray:gone"):
        make_pending(executor_backend=backend)
        [job] = job_store.claim_batch("a", {backend}, {"sample": 1}, 60.0, lambda *_: None).claimed
        return job.claim

    return claim


def test_each_backend_is_asked_about_its_own_jobs(
    abandoned, recovery, executor, other_executor, term
):
    unnamed, local = abandoned(), abandoned(executor_backend="local")
    other = abandoned(executor_backend="scripted")
    recovery.run(term)
    assert sorted(executor.recovered) == sorted([[unnamed], [local]])
    assert other_executor.recovered == [[other]]


def test_requeue_makes_the_job_pending_again(job_store, abandoned, recovery, term):
    job_id = abandoned()
    assert recovery.run(term) == 1
    assert job_store.get_job(job_id).status is JobStatus.PENDING


def test_a_job_that_is_lost_too_often_fails_with_its_history(job_store, abandoned, recovery, term):
    job_id = abandoned()
    for _ in range(MAX_RECOVERIES + 1):
        recovery.run(term)
        job_store.abandon([reclaim(job_store).claim], lost=True)
    recovery.run(term)
    row = job_store.get_job(job_id)
    assert row.status is JobStatus.FAILED
    assert "died 3 times" in row.error_message
    assert [each.fence for each in row.crashes] == [2, 3, 4]


def test_deployments_do_not_use_up_a_jobs_recoveries(job_store, abandoned, recovery, term):
    job_id = abandoned()
    for _ in range(MAX_RECOVERIES + 2):
        recovery.run(term)
        job_store.abandon([reclaim(job_store).claim])
    recovery.run(term)
    assert job_store.get_job(job_id).status is JobStatus.PENDING


def test_what_a_backend_says_of_a_crash_is_kept(job_store, abandoned, recovery, executor, term):
    job_id = abandoned()
    executor.on_recover = lambda ids: [JobRecoveryResult(i, "requeue", "evicted") for i in ids]
    recovery.run(term)
    [crash] = job_store.get_job(job_id).crashes
    assert (crash.replica, crash.fence, crash.reason) == ("a", 1, "evicted")


def test_reattach_owns_the_work_that_still_runs(
    job_store, abandoned, recovery, executor, resumed, clock, term
):
    job_id = abandoned()
    executor.on_recover = lambda ids: [JobRecoveryResult(i, "reattach") for i in ids]
    recovery.run(term)
    [(claim, trust_until)] = resumed
    assert (claim.job_id, claim.fence) == (job_id, 2)
    assert clock.monotonic() < trust_until < clock.monotonic() + LEASE_SECONDS
    assert job_store.get_job(job_id).status is JobStatus.RUNNING


@pytest.mark.parametrize("error", ["the pod is gone", None])
def test_fail_fails_the_job_with_a_sentence(job_store, abandoned, recovery, executor, term, error):
    job_id = abandoned()
    executor.on_recover = lambda ids: [JobRecoveryResult(i, "fail", error) for i in ids]
    recovery.run(term)
    row = job_store.get_job(job_id)
    assert row.status is JobStatus.FAILED
    assert row.error_message == (error or "The backend lost the job.")


def test_a_backend_that_is_not_configured_fails_its_jobs_by_name_after_a_minute(
    job_store, of_another_backend, recovery, term
):
    claim = of_another_backend()
    job_store.abandon([claim])
    job_store.clock_offset_ms += 55_000
    assert recovery.run(term) == 0
    assert job_store.get_job(claim.job_id).status is JobStatus.NEEDS_RECOVERY
    job_store.clock_offset_ms += 6_000
    assert recovery.run(term) == 1
    row = job_store.get_job(claim.job_id)
    assert row.status is JobStatus.FAILED
    assert "ray:gone" in row.error_message


def test_a_job_waits_while_another_replica_runs_jobs_of_its_backend(
    job_store, of_another_backend, recovery, term, caplog
):
    waiting, running = of_another_backend(), of_another_backend()
    job_store.abandon([waiting])
    pass_lease(job_store)
    job_store.renew([running], LEASE_SECONDS)
    with caplog.at_level(logging.WARNING, "mlflow.server.jobs"):
        assert [recovery.run(term) for _ in range(3)] == [0, 0, 0]
    assert job_store.get_job(waiting.job_id).status is JobStatus.NEEDS_RECOVERY
    assert len([each for each in caplog.messages if "'ray:gone'" in each]) == 1
    pass_lease(job_store)
    assert recovery.run(term) == 1
    assert job_store.get_job(waiting.job_id).status is JobStatus.FAILED


def test_a_backend_that_never_answers_holds_up_no_other(
    job_store, abandoned, executor, other_executor, clock, term
):
    recovery = Recovery(
        job_store,
        {"local": executor, "scripted": other_executor},
        clock,
        "b",
        LEASE_SECONDS,
        MAX_RECOVERIES,
        lambda *_: None,
        answer_seconds=0.01,
    )
    asked, released = threading.Event(), threading.Event()
    answer = executor.on_recover

    def hang(ids):
        asked.set()
        released.wait()
        return answer(ids)

    executor.on_recover = hang
    stuck = abandoned(executor_backend="local")
    assert recovery.run(term) == 0
    assert asked.wait(PATIENCE_SECONDS)
    other = abandoned(executor_backend="scripted")
    run_until(recovery, term, lambda: is_pending(job_store, other))
    assert job_store.get_job(stuck).status is JobStatus.NEEDS_RECOVERY
    assert executor.recovered == [[stuck]]
    released.set()
    run_until(recovery, term, lambda: is_pending(job_store, stuck))


def test_an_answer_that_comes_too_late_is_about_the_claim_that_was_asked_for(
    job_store, abandoned, executor, clock, term
):
    recovery = Recovery(
        job_store,
        {"local": executor},
        clock,
        "b",
        LEASE_SECONDS,
        MAX_RECOVERIES,
        lambda *_: None,
        answer_seconds=0.01,
    )
    released = threading.Event()
    answer = executor.on_recover

    def hang(ids):
        released.wait()
        return answer(ids)

    executor.on_recover = hang
    job_id = abandoned(executor_backend="local")
    recovery.run(term)
    [candidate] = job_store.recovery_candidates()
    job_store.abandon([job_store.reattach(candidate, "c", LEASE_SECONDS, term)])
    executor.on_recover = lambda ids: []
    released.set()
    run_until(recovery, term, lambda: len(executor.recovered) > 1)
    assert job_store.get_job(job_id).status is JobStatus.NEEDS_RECOVERY


def is_pending(job_store, job_id) -> bool:
    return job_store.get_job(job_id).status is JobStatus.PENDING


def run_until(recovery, term, done) -> None:
    """Let the leader look again until it is done: answers come on threads of their own."""
    looks = threading.Event()
    for _ in range(int(PATIENCE_SECONDS / 0.01)):
        recovery.run(term)
        if done():
            return
        looks.wait(0.01)
    pytest.fail("nothing became of it")


def test_a_backend_that_cannot_answer_is_asked_again_after_growing_pauses(
    job_store, abandoned, recovery, executor, other_executor, clock, term
):
    waiting = abandoned()

    def refuse(_):
        raise ConnectionError("away")

    executor.on_recover = refuse
    asked = []
    for _ in range(120):
        recovery.run(term)
        asked.append(len(executor.recovered))
        clock.advance(1)
    assert 3 <= asked[-1] <= 8
    assert job_store.get_job(waiting).status is JobStatus.NEEDS_RECOVERY
    abandoned(executor_backend="scripted")
    assert recovery.run(term) == 1


def test_a_backend_that_answers_again_is_asked_without_a_pause(
    abandoned, recovery, executor, clock, term
):
    abandoned()
    answer = executor.on_recover

    def refuse(_):
        raise ConnectionError("away")

    executor.on_recover = refuse
    recovery.run(term)
    executor.on_recover = answer
    clock.advance(10)
    assert recovery.run(term) == 1
    abandoned()
    assert recovery.run(term) == 1


@pytest.mark.parametrize(
    "answers", [[], [JobRecoveryResult("unknown", "requeue")], [JobRecoveryResult("?", "explode")]]
)
def test_a_job_that_the_backend_says_nothing_of_is_left(
    job_store, abandoned, recovery, executor, term, answers
):
    job_id = abandoned()
    executor.on_recover = lambda _: answers
    assert recovery.run(term) == 0
    assert job_store.get_job(job_id).status is JobStatus.NEEDS_RECOVERY


def test_an_action_that_does_not_exist_changes_nothing(
    job_store, abandoned, recovery, executor, term
):
    job_id = abandoned()
    executor.on_recover = lambda ids: [JobRecoveryResult(i, "explode") for i in ids]
    assert recovery.run(term) == 0
    assert job_store.get_job(job_id).status is JobStatus.NEEDS_RECOVERY


@pytest.mark.parametrize("action", ["requeue", "fail", "reattach"])
def test_an_ex_leader_recovers_nothing(
    job_store, abandoned, recovery, executor, resumed, term, action
):
    job_id = abandoned()
    executor.on_recover = lambda ids: [JobRecoveryResult(i, action) for i in ids]
    recovery.run(Term(term.lease_key, term.holder, term.fence - 1))
    assert job_store.get_job(job_id).status is JobStatus.NEEDS_RECOVERY
    assert resumed == []


def test_a_row_that_somebody_has_locked_is_left_for_the_next_pass(
    abandoned, recovery, executor, job_store, term, monkeypatch
):
    locked, free = abandoned(), abandoned()
    monkeypatch.setattr(job_store, "unlocked", lambda job_ids: {*job_ids} - {locked})
    assert recovery.run(term) == 1
    assert executor.recovered == [[free]]
    assert job_store.get_job(locked).status is JobStatus.NEEDS_RECOVERY
    assert recovery.again_seconds > 0
    monkeypatch.undo()
    assert recovery.run(term) == 1
    assert job_store.get_job(locked).status is JobStatus.PENDING
    assert recovery.again_seconds is None


def test_a_locked_row_of_a_backend_that_nobody_has_does_not_keep_others_from_failing(
    of_another_backend, recovery, job_store, term, monkeypatch
):
    locked, free = of_another_backend(), of_another_backend()
    job_store.abandon([locked, free])
    pass_lease(job_store)
    term = job_store.acquire_scheduler_lease("scheduler", "b", 1000)
    monkeypatch.setattr(job_store, "unlocked", lambda job_ids: {*job_ids} - {locked.job_id})
    assert recovery.run(term) == 1
    assert job_store.get_job(free.job_id).status is JobStatus.FAILED
    assert job_store.get_job(locked.job_id).status is JobStatus.NEEDS_RECOVERY
