"""One claimed job: every way in which it can end, and what is written then."""

import json
import threading

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.server.jobs.errors import ExecutorStopped, UnknownJobName
from mlflow.server.jobs.executor import JobResult
from mlflow.server.jobs.functions import JobFunctionMetadata
from mlflow.server.jobs.lifecycle import Lifecycle, Surroundings, checkpoint_move
from mlflow.server.jobs.outcome import Fail, Outcome, Retry, RetryPolicy, Succeed
from mlflow.server.jobs.owned_jobs import End, OwnedJob, OwnedJobs
from mlflow.server.jobs.sealed_environment import seal
from mlflow.store.jobs.errors import JobStoreUnavailable
from mlflow.store.jobs.values import CheckpointMove, ClaimedJob
from tests.server.jobs.fakes import (
    LEASE_SECONDS,
    PATIENCE_SECONDS,
    failed,
    pass_lease,
    reclaim,
    succeeded,
    take_over,
)

FUNCTIONS = {
    "sample": JobFunctionMetadata("sample", "jobs.sample", 1),
    "alone": JobFunctionMetadata("alone", "jobs.alone", 1, exclusive=True),
}


@pytest.fixture
def owned(clock):
    return OwnedJobs(clock)


@pytest.fixture
def ended():
    return []


@pytest.fixture
def has_ended():
    return threading.Semaphore(0)


def metadata_of(job_name: str) -> JobFunctionMetadata:
    try:
        return FUNCTIONS[job_name]
    except KeyError:
        raise UnknownJobName(job_name) from None


@pytest.fixture
def make_lifecycle(job_store, owned, executor, clock, ended, has_ended):
    def told_end(job: ClaimedJob, written: Outcome | None) -> None:
        ended.append(written)
        has_ended.release()

    def make(workspaces_enabled: bool = False) -> Lifecycle:
        return Lifecycle(
            job_store,
            owned,
            {None: executor, "scripted": executor},
            clock,
            Surroundings(
                tracking_uri="sqlite:///tracking",
                gateway_uri="http://gateway",
                workspaces_enabled=workspaces_enabled,
                default_timeout=3600.0,
                retry_policy=RetryPolicy(max_retries=1, base_delay=8.0, max_delay=60.0),
            ),
            metadata_of,
            told_end,
            lambda successes: job_store.succeed_all(successes),
        )

    return make


@pytest.fixture
def run(make_lifecycle, owned, executor, has_ended):
    """Run a claimed job to its end, which may come on another thread."""

    def run(job: ClaimedJob, *endings, before=None, submit=True, **options) -> OwnedJob:
        owned_job = OwnedJob(job.claim, job.job_name, executor, trust_until=0.0)
        owned.add(owned_job)
        for ending in endings:
            executor.end(job.claim.job_id, ending)
        if before is not None:
            before(owned_job)
        make_lifecycle(**options).run(job, owned_job, submit)
        assert has_ended.acquire(timeout=PATIENCE_SECONDS)
        return owned_job

    return run


@pytest.mark.parametrize(
    ("ending", "status", "error"),
    [
        (succeeded('{"a": 1}'), JobStatus.SUCCEEDED, None),
        (failed("broken"), JobStatus.FAILED, "broken"),
        (JobResult(JobStatus.TIMEOUT, error_message="late"), JobStatus.TIMEOUT, "late"),
    ],
)
def test_a_result_is_recorded_as_its_transition(job_store, claim_one, run, ending, status, error):
    job = claim_one()
    run(job, ending)
    row = job_store.get_job(job.claim.job_id)
    assert row.status is status
    assert row.error_message == error


def test_a_job_that_ended_is_owned_no_more_and_its_end_is_told(claim_one, run, owned, ended):
    run(claim_one(), succeeded('"x"'))
    assert owned.all() == []
    assert ended == [Succeed('"x"')]


def test_a_transient_failure_is_due_again_later_until_its_retries_are_used_up(
    job_store, claim_one, run, ended
):
    first = claim_one()
    run(first, failed("away", transient=True))
    row = job_store.get_job(first.claim.job_id)
    assert (row.status, row.retry_count) == (JobStatus.PENDING, 1)
    assert isinstance(ended[0], Retry)
    pass_lease(job_store)
    run(reclaim(job_store), failed("away", transient=True))
    row = job_store.get_job(first.claim.job_id)
    assert row.status is JobStatus.FAILED
    assert "after 1 retries" in row.error_message


def test_the_backend_is_told_all_that_the_job_needs(claim_one, run, executor):
    job = claim_one(params={"x": 1}, timeout=12.5, creator="alice")
    run(job, succeeded())
    told = executor.submitted[job.claim.job_id]
    assert told["fn_fullname"] == "jobs.sample"
    assert (told["params"], told["timeout"]) == ({"x": 1}, 12.5)
    context = told["context"]
    assert (context.tracking_uri, context.gateway_uri) == ("sqlite:///tracking", "http://gateway")
    assert (context.fence, context.creator) == (job.claim.fence, "alice")
    assert (context.workspace, context.extra_envs) == (None, None)


def test_a_job_runs_in_its_workspace_where_workspaces_are_on(claim_one, run, executor):
    job = claim_one(workspace="team")
    run(job, succeeded(), workspaces_enabled=True)
    assert executor.submitted[job.claim.job_id]["context"].workspace == "team"


@pytest.mark.parametrize(("job_name", "timeout"), [("sample", None), ("alone", 3600.0)])
def test_only_exclusive_jobs_get_a_timeout_they_did_not_ask_for(
    claim_one, run, executor, job_name, timeout
):
    job = claim_one(job_name)
    run(job, succeeded())
    assert executor.submitted[job.claim.job_id]["timeout"] == timeout


def test_sealed_variables_are_opened_for_the_backend(claim_one, run, executor):
    job_id = "6b1f8c9a-0000-4000-8000-000000000000"
    job = claim_one(job_id=job_id, sealed_environment=seal(job_id, {"KEY": "s3cret"}))
    run(job, succeeded())
    assert executor.submitted[job_id]["context"].extra_envs == {"KEY": "s3cret"}


def test_a_seal_that_cannot_be_opened_fails_the_job_with_a_sentence(job_store, claim_one, run):
    job = claim_one(sealed_environment=seal("another-job", {"KEY": "s3cret"}))
    run(job)
    row = job_store.get_job(job.claim.job_id)
    assert row.status is JobStatus.FAILED
    assert "cannot be decrypted" in row.error_message


def test_a_job_that_could_not_be_submitted_fails_with_the_backends_words(
    job_store, claim_one, run, executor
):
    def refuse(_):
        raise ConnectionError("no cluster")

    executor.on_submit = refuse
    job = claim_one()
    run(job)
    row = job_store.get_job(job.claim.job_id)
    assert row.status is JobStatus.FAILED
    assert "could not be started" in row.error_message
    assert "no cluster" in row.error_message


def test_an_unknown_job_function_fails_its_job(job_store, claim_one, run):
    job = claim_one("vanished")
    run(job)
    assert job_store.get_job(job.claim.job_id).status is JobStatus.FAILED


def test_a_result_that_cannot_be_stored_fails_the_job_with_a_sentence(job_store, claim_one, run):
    job = claim_one()
    run(job, succeeded("NaN"))
    row = job_store.get_job(job.claim.job_id)
    assert row.status is JobStatus.FAILED
    assert "cannot be stored" in row.error_message


def test_a_wait_that_broke_off_leaves_the_job_to_recovery(job_store, claim_one, run, ended):
    job = claim_one()
    run(job, ExecutorStopped(job.claim.job_id))
    assert job_store.get_job(job.claim.job_id).status is JobStatus.NEEDS_RECOVERY
    [candidate] = job_store.recovery_candidates()
    assert candidate.crashed_at is not None
    assert ended == [None]


def test_a_lost_claim_writes_nothing(job_store, claim_one, run, term):
    job = claim_one()
    current = take_over(job_store, job.claim, term)
    run(job, succeeded('"late"'), before=lambda owned_job: owned_job.stop(End.LOST), submit=False)
    row = job_store.get_job(job.claim.job_id)
    assert row.status is JobStatus.RUNNING
    assert job_store.not_running([current.claim]) == {}


def test_a_claim_that_was_lost_unnoticed_writes_nothing_either(job_store, claim_one, run, term):
    job = claim_one()
    current = take_over(job_store, job.claim, term)
    run(job, succeeded('"late"'), submit=False)
    assert job_store.get_job(job.claim.job_id).status is JobStatus.RUNNING
    assert job_store.not_running([current.claim]) == {}


def test_a_canceled_job_frees_its_lock_only_when_its_work_has_stopped(
    job_store, claim_one, make_pending, run, executor, monkeypatch
):
    job = claim_one(lock_key="k", timeout=3600.0)
    job_store.cancel_job(job.claim.job_id)
    at_wait = []
    wait_for_job = executor.wait_for_job

    def wait(job_id):
        make_pending(lock_key="k")
        at_wait.append(_claim_sample(job_store))
        return wait_for_job(job_id)

    monkeypatch.setattr(executor, "wait_for_job", wait)
    run(
        job,
        JobResult(JobStatus.CANCELED),
        before=lambda owned_job: owned_job.stop(End.CANCELED),
        submit=False,
    )
    [during] = at_wait
    assert len(during.canceled) == 1
    make_pending(lock_key="k")
    assert len(_claim_sample(job_store).claimed) == 1


def test_a_cancellation_that_was_not_noticed_before_the_result_frees_the_lock_too(
    job_store, claim_one, make_pending, run
):
    job = claim_one(lock_key="k", timeout=3600.0)
    job_store.cancel_job(job.claim.job_id)
    run(job, succeeded())
    assert job_store.get_job(job.claim.job_id).status is JobStatus.CANCELED
    make_pending(lock_key="k")
    assert len(_claim_sample(job_store).claimed) == 1


def test_a_job_that_was_canceled_before_it_started_is_not_submitted(claim_one, run, executor):
    run(claim_one(), before=lambda owned_job: owned_job.stop(End.CANCELED))
    assert executor.submitted == {}


def test_a_kill_that_came_while_the_job_was_being_submitted_is_repeated(claim_one, run, executor):
    job = claim_one()
    owned_jobs = []
    executor.on_submit = lambda _: owned_jobs[0].stop(End.CANCELED)
    run(job, before=owned_jobs.append)
    assert executor.canceled == [job.claim.job_id, job.claim.job_id]


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        (succeeded(), JobStatus.SUCCEEDED),
        (failed("killed"), JobStatus.NEEDS_RECOVERY),
        (ExecutorStopped("job"), JobStatus.NEEDS_RECOVERY),
    ],
)
def test_at_shutdown_only_a_success_is_recorded(job_store, claim_one, run, ending, status):
    job = claim_one()
    run(job, ending, before=lambda owned_job: owned_job.stop(End.ABANDONED), submit=False)
    assert job_store.get_job(job.claim.job_id).status is status
    # I11: what is handed over has not crashed.
    assert all(each.crashed_at is None for each in job_store.recovery_candidates())


def test_a_result_waits_until_the_database_takes_it(job_store, claim_one, run, monkeypatch):
    succeed, refusals = job_store.succeed, [1, 2, 3]

    def unavailable(*args):
        if refusals:
            refusals.pop()
            raise JobStoreUnavailable("away")
        return succeed(*args)

    monkeypatch.setattr(job_store, "succeed_all", unavailable)
    monkeypatch.setattr(job_store, "succeed", unavailable)
    job = claim_one()
    run(job, succeeded())
    assert refusals == []
    assert job_store.get_job(job.claim.job_id).status is JobStatus.SUCCEEDED


def test_a_result_is_given_up_when_the_claim_is_lost_meanwhile(
    job_store, claim_one, run, monkeypatch
):
    owned_jobs, succeed = [], job_store.succeed

    def unavailable(*args):
        if owned_jobs[0].end is End.LOST:
            return succeed(*args)
        owned_jobs[0].stop(End.LOST)
        raise JobStoreUnavailable("away")

    monkeypatch.setattr(job_store, "succeed_all", unavailable)
    monkeypatch.setattr(job_store, "succeed", unavailable)
    job = claim_one()
    run(job, succeeded(), before=owned_jobs.append)
    assert job_store.get_job(job.claim.job_id).status is JobStatus.RUNNING


def test_jobs_that_end_together_are_each_recorded_and_told(
    job_store, make_pending, make_lifecycle, owned, executor, ended, monkeypatch
):
    for _ in range(12):
        make_pending()
    batch = job_store.claim_batch("a", {None}, {"sample": 12}, LEASE_SECONDS, lambda *_: None)
    lifecycle, told = make_lifecycle(), threading.Semaphore(0)
    monkeypatch.setattr(
        lifecycle, "_on_end", lambda job, written: (ended.append(written), told.release())
    )
    assert lifecycle.start(batch.claimed, trust_until=0.0) == []
    lost, *kept = (job.claim for job in batch.claimed)
    assert executor.await_submissions(12)
    job_store.cancel_job(lost.job_id)
    under_way = owned.all()
    for job in batch.claimed:
        executor.end(job.claim.job_id, succeeded(f'"{job.claim.job_id}"'))
    assert all(job.gone.wait(PATIENCE_SECONDS) for job in under_way)
    # The end is told last of all.
    assert all(told.acquire(timeout=PATIENCE_SECONDS) for _ in batch.claimed)
    assert job_store.get_job(lost.job_id).status is JobStatus.CANCELED
    for claim in kept:
        assert job_store.get_job(claim.job_id).parsed_result == claim.job_id
    assert sum(isinstance(each, Succeed) for each in ended) == len(kept)


def test_a_success_that_moves_a_checkpoint_is_written_alone(job_store, claim_one, run, monkeypatch):
    monkeypatch.setitem(
        FUNCTIONS,
        "run_online_trace_scorer",
        JobFunctionMetadata("run_online_trace_scorer", "jobs.score", 1),
    )
    moved, succeed = [], job_store.succeed

    def note(claim, result, checkpoint):
        moved.append(checkpoint)
        return succeed(claim, result, checkpoint)

    monkeypatch.setattr(job_store, "succeed", note)
    params = {"experiment_id": "7", "next_checkpoint": MOVE}
    run(claim_one("run_online_trace_scorer", params=params), succeeded())
    assert moved == [CheckpointMove("7", TRACE_TAG, MOVE["value"])]


def test_a_job_that_came_back_waits_for_the_work_of_its_lost_claim(
    job_store, claim_one, make_lifecycle, owned, executor, clock, term
):
    first = claim_one()
    lifecycle = make_lifecycle()
    lifecycle.start([first], trust_until=0.0)
    assert executor.has_submitted.wait(PATIENCE_SECONDS)
    executor.has_submitted.clear()
    executor.on_cancel = lambda _: None
    owned.get(first.claim).stop(End.LOST)
    second = take_over(job_store, first.claim, term, replica="a")
    lifecycle.start([second], trust_until=0.0)
    assert clock.blocked.wait(PATIENCE_SECONDS)
    assert not executor.has_submitted.is_set()
    second_job = owned.get(second.claim)
    executor.end(first.claim.job_id, JobResult(JobStatus.CANCELED))
    assert executor.has_submitted.wait(PATIENCE_SECONDS)
    executor.end(second.claim.job_id, succeeded())
    assert second_job.gone.wait(PATIENCE_SECONDS)
    assert job_store.get_job(second.claim.job_id).status is JobStatus.SUCCEEDED


def test_a_thread_that_cannot_start_leaves_nothing_owned(
    claim_one, make_lifecycle, owned, monkeypatch
):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    job = claim_one()
    assert make_lifecycle().start([job], trust_until=0.0) == [job]
    assert owned.all() == []


def test_a_success_that_no_thread_is_left_for_is_written_all_the_same(
    job_store, claim_one, run, monkeypatch
):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(job_store, "succeed_all", lambda _: False)
    job = claim_one()
    run(job, succeeded())
    assert job_store.get_job(job.claim.job_id).status is JobStatus.SUCCEEDED


def test_a_success_of_an_exclusive_job_is_written_alone(job_store, claim_one, run, monkeypatch):
    groups = []
    monkeypatch.setattr(job_store, "succeed_all", groups.append)
    job = claim_one("alone", lock_key="k", timeout=60.0)
    run(job, succeeded())
    assert groups == []
    assert job_store.get_job(job.claim.job_id).status is JobStatus.SUCCEEDED


TRACE_TAG = "mlflow.latestOnlineScoring.trace.checkpoint"
MOVE = {"experiment_id": "7", "tag": TRACE_TAG, "value": {"timestamp_ms": 5, "trace_id": "t"}}


@pytest.mark.parametrize(
    ("job_name", "params", "move"),
    [
        (
            "run_online_trace_scorer",
            {"experiment_id": "7", "next_checkpoint": MOVE},
            CheckpointMove("7", TRACE_TAG, MOVE["value"]),
        ),
        ("run_online_trace_scorer", {"experiment_id": "7"}, None),
        ("run_online_trace_scorer", {"experiment_id": "8", "next_checkpoint": MOVE}, None),
        ("run_online_session_scorer", {"experiment_id": "7", "next_checkpoint": MOVE}, None),
        ("sample", {"experiment_id": "7", "next_checkpoint": MOVE}, None),
        ("run_online_trace_scorer", {"experiment_id": "7", "next_checkpoint": "x"}, None),
        (
            "run_online_trace_scorer",
            {"experiment_id": "7", "next_checkpoint": {**MOVE, "tag": "other"}},
            None,
        ),
        (
            "run_online_trace_scorer",
            {"experiment_id": "7", "next_checkpoint": {**MOVE, "value": 5}},
            None,
        ),
    ],
)
def test_only_online_scoring_moves_a_checkpoint_and_only_its_own(job_name, params, move):
    assert checkpoint_move(job_name, params) == move


def test_params_and_results_are_not_logged(claim_one, run, caplog):
    caplog.set_level("DEBUG")
    run(claim_one(params={"x": "pr1vate"}), succeeded(json.dumps("s3cret")))
    assert "started" in caplog.text
    assert "pr1vate" not in caplog.text
    assert "s3cret" not in caplog.text


def test_a_refusal_is_a_failure_that_was_written(claim_one, run, ended):
    run(claim_one("vanished"))
    assert isinstance(ended[0], Fail)


def _claim_sample(store):
    return store.claim_batch("b", {None}, {"sample": 1}, LEASE_SECONDS, lambda *_: None)
