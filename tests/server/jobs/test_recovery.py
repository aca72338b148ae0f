"""The backend is asked what became of a job, then exactly one thing is done."""

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.server.jobs.executor import JobRecoveryResult
from mlflow.server.jobs.recovery import Recovery
from mlflow.store.jobs.values import Term
from tests.server.jobs.fakes import LEASE_SECONDS, ScriptedExecutor, reclaim

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
    )


@pytest.fixture
def abandoned(job_store, claim_one):
    """A job that waits for recovery; answers its id."""

    def abandon(**fields) -> str:
        job = claim_one(**fields)
        job_store.abandon([job.claim])
        return job.claim.job_id

    return abandon


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


def test_a_job_that_is_requeued_too_often_fails_with_a_sentence(
    job_store, abandoned, recovery, term
):
    job_id = abandoned()
    for _ in range(MAX_RECOVERIES):
        recovery.run(term)
        job_store.abandon([reclaim(job_store).claim])
    recovery.run(term)
    row = job_store.get_job(job_id)
    assert row.status is JobStatus.FAILED
    assert row.error_message


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


def test_a_backend_that_is_not_configured_fails_its_jobs_by_name(
    job_store, make_pending, recovery, term
):
    job_id = make_pending(executor_backend="ray:gone")
    batch = job_store.claim_batch("a", {"ray:gone"}, {"sample": 1}, 60.0, lambda *_: None)
    job_store.abandon([batch.claimed[0].claim])
    recovery.run(term)
    row = job_store.get_job(job_id)
    assert row.status is JobStatus.FAILED
    assert "ray:gone" in row.error_message


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
