"""A runner that is asked to stop: grace first, then recovery's turn."""

import threading

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.server.jobs import runner
from mlflow.server.jobs.errors import ExecutorStopped
from mlflow.server.jobs.runner import drain, stop
from mlflow.server.jobs.stop_requests import StopRequest
from mlflow.store.jobs.errors import JobStoreUnavailable
from tests.server.jobs.fakes import PATIENCE_SECONDS, succeeded

GRACE_SECONDS = 30.0


class ScriptedStops:
    """Requests that come one per look, while time goes by."""

    def __init__(self, clock, *script):
        self._clock = clock
        self._script = [*script]

    def get(self, timeout_seconds):
        self._clock.advance(timeout_seconds)
        step = self._script.pop(0) if self._script else None
        return step() if callable(step) else step


@pytest.fixture
def parts(build_parts, clock):
    return build_parts(clock)


@pytest.fixture
def start_job(parts, make_pending, executor):
    def start() -> str:
        job_id = make_pending("sample_add")
        parts.claimer.beat()
        assert executor.has_submitted.wait(PATIENCE_SECONDS)
        return job_id

    return start


@pytest.fixture
def seconds_drained(parts, clock):
    def drained(request: StopRequest, *script) -> float:
        began = clock.monotonic()
        drain(parts, ScriptedStops(clock, *script), clock, GRACE_SECONDS, request)
        return clock.monotonic() - began

    return drained


def test_an_idle_runner_stops_at_once(seconds_drained):
    assert seconds_drained(StopRequest.TERMINATE) == 0


@pytest.mark.parametrize(
    ("request_", "script", "seconds"),
    [
        (StopRequest.TERMINATE, [], GRACE_SECONDS),
        (StopRequest.INTERRUPT, [], GRACE_SECONDS),
        (StopRequest.DRAIN, [], GRACE_SECONDS),
        (StopRequest.SERVER_GONE, [], 2.0),
        (StopRequest.LAUNCHER_GONE, [StopRequest.SERVER_GONE], 2.0),
        (StopRequest.SERVER_GONE, [StopRequest.DRAIN], GRACE_SECONDS),
        (StopRequest.TERMINATE, [StopRequest.DRAIN, StopRequest.SERVER_GONE], GRACE_SECONDS),
        (StopRequest.TERMINATE, [StopRequest.TERMINATE], 0.1),
        (StopRequest.INTERRUPT, [StopRequest.TERMINATE], 0.1),
        (StopRequest.INTERRUPT, [StopRequest.DRAIN, StopRequest.INTERRUPT], 0.2),
        (StopRequest.DRAIN, [StopRequest.NOW], 0.1),
        (StopRequest.SERVER_GONE, [StopRequest.INTERRUPT, StopRequest.INTERRUPT], 0.2),
        (StopRequest.NOW, [], 0.0),
    ],
)
def test_running_jobs_get_their_grace_and_a_second_signal_or_an_impatient_order_ends_it(
    start_job, seconds_drained, request_, script, seconds
):
    start_job()
    assert seconds_drained(request_, *script) == pytest.approx(seconds, abs=0.15)


def test_a_job_that_ends_in_its_grace_is_recorded(
    job_store, parts, start_job, seconds_drained, executor
):
    job_id = start_job()
    [job] = parts.owned.all()

    def end_job():
        executor.end(job_id, succeeded())
        assert job.gone.wait(PATIENCE_SECONDS)

    assert seconds_drained(StopRequest.TERMINATE, end_job) < 1
    assert job_store.get_job(job_id).status is JobStatus.SUCCEEDED


def test_a_draining_runner_claims_nothing(job_store, parts, make_pending, seconds_drained):
    seconds_drained(StopRequest.TERMINATE)
    job_id = make_pending("sample_add")
    parts.claimer.beat()
    assert job_store.get_job(job_id).status is JobStatus.PENDING


def test_a_draining_leader_lets_another_lead_at_once(
    parts, build_parts, clock, start_job, seconds_drained, job_store
):
    parts.scheduler.beat()
    start_job()
    seconds_drained(StopRequest.TERMINATE)
    assert job_store.acquire_scheduler_lease("mlflow-job-scheduler", "b", 15.0) is not None


def test_what_is_left_after_the_grace_is_stopped_and_handed_to_recovery(
    job_store, parts, start_job, executor
):
    job_id = start_job()
    [job] = parts.owned.all()
    stop(parts)
    assert executor.is_stopped
    assert job.gone.wait(PATIENCE_SECONDS)
    assert job_store.get_job(job_id).status is JobStatus.NEEDS_RECOVERY


def test_a_backend_that_does_not_let_go_keeps_no_job_from_recovery(
    job_store, parts, start_job, executor, monkeypatch
):
    def refuse():
        raise ConnectionError("away")

    monkeypatch.setattr(executor, "stop_executor", refuse)
    job_id = start_job()
    stop(parts)
    assert job_store.get_job(job_id).status is JobStatus.NEEDS_RECOVERY


def test_a_backend_that_never_answers_keeps_neither_the_runner_nor_its_jobs(
    job_store, parts, start_job, executor, monkeypatch
):
    monkeypatch.setattr(runner, "_STOP_SECONDS", 0.1)
    answers, answered = threading.Event(), []
    monkeypatch.setattr(
        executor, "stop_executor", lambda: answered.append(answers.wait(PATIENCE_SECONDS))
    )
    job_id = start_job()
    stop(parts)
    assert answered == []
    answers.set()
    assert job_store.get_job(job_id).status is JobStatus.NEEDS_RECOVERY


def test_a_database_that_is_away_keeps_no_runner_from_stopping(
    job_store, parts, start_job, seconds_drained, executor, monkeypatch
):
    def refuse(*_):
        raise JobStoreUnavailable("away")

    parts.scheduler.beat()
    start_job()
    with monkeypatch.context() as away:
        away.setattr(job_store, "release_scheduler_lease", refuse)
        away.setattr(job_store, "abandon", refuse)
        away.setattr(executor, "stop_executor", lambda: None)
        seconds_drained(StopRequest.TERMINATE)
        stop(parts)


@pytest.fixture
def hang(monkeypatch):
    """Let calls of a verb be without an answer until the test is over; answers what is told so."""
    over = threading.Event()

    def hang(owner, verb: str) -> threading.Event:
        answers, asked = getattr(owner, verb), threading.Event()

        def ask(*args, **kwargs):
            asked.set()
            assert over.wait(PATIENCE_SECONDS)
            return answers(*args, **kwargs)

        monkeypatch.setattr(owner, verb, ask)
        return asked

    hang.over = over
    yield hang
    over.set()


@pytest.fixture
def in_a_hurry(monkeypatch):
    for name in ("_HAND_OVER_SECONDS", "_RECORD_SECONDS", "_LAST_WORDS_SECONDS"):
        monkeypatch.setattr(runner, name, 0.1)


@pytest.mark.parametrize("verb", ["release_scheduler_lease", "abandon", "claim_batch"])
def test_a_database_that_never_answers_keeps_a_runner_neither_from_its_jobs_nor_from_its_end(
    job_store, parts, start_job, make_pending, seconds_drained, executor, hang, in_a_hurry, verb
):
    parts.scheduler.beat()
    start_job()
    [job] = parts.owned.all()
    asked = hang(job_store, verb)
    claiming = threading.Thread(target=parts.claimer.beat)
    if verb == "claim_batch":
        make_pending("sample_add")
        claiming.start()
        assert asked.wait(PATIENCE_SECONDS)
    assert seconds_drained(StopRequest.TERMINATE, StopRequest.TERMINATE) == pytest.approx(0.1)
    stop(parts)
    assert executor.is_stopped
    assert not hang.over.is_set()
    hang.over.set()
    if verb == "claim_batch":
        claiming.join(PATIENCE_SECONDS)
    for each in [job, *parts.owned.all()]:
        assert each.gone.wait(PATIENCE_SECONDS)


def test_a_claim_that_is_answered_after_the_grace_is_left_to_recovery(
    job_store, parts, make_pending, seconds_drained, executor, hang, in_a_hurry
):
    job_id = make_pending("sample_add")
    asked = hang(job_store, "claim_batch")
    claiming = threading.Thread(target=parts.claimer.beat)
    claiming.start()
    assert asked.wait(PATIENCE_SECONDS)
    assert seconds_drained(StopRequest.TERMINATE) == pytest.approx(GRACE_SECONDS, abs=0.15)
    stop(parts)

    def refuse(job_id):
        raise ExecutorStopped(job_id)

    executor.on_submit = refuse
    hang.over.set()
    claiming.join(PATIENCE_SECONDS)
    for job in parts.owned.all():
        assert job.gone.wait(PATIENCE_SECONDS)
    assert job_store.get_job(job_id).status is JobStatus.NEEDS_RECOVERY
    # I11: nobody was lost.
    [left] = job_store.recovery_candidates()
    assert left.crashed_at is None
