"""How a claim ends: T5, T6, T7, T8, T10, and what each clears, stores and refuses."""

import json
import math

import pytest

from mlflow.entities._job import JobProgress
from mlflow.entities._job_status import JobStatus
from mlflow.exceptions import MlflowException
from mlflow.store.jobs.errors import (
    InvalidJobField,
    JobNotFound,
    JobTerminalStateUpdateException,
)
from mlflow.store.jobs.texts import MAX_ERROR_BYTES, MAX_MESSAGE_BYTES, MAX_TREE_BYTES
from mlflow.store.jobs.values import Claim, JobUpdateStatus
from tests.store.jobs.store_factories import (
    change_raw,
    claim,
    claim_one,
    create,
    lead,
    locks_of,
    row_of,
    status_of,
    to_recovery,
)

APPLIED, WRONG_STATE, CLAIM_LOST = JobUpdateStatus

ENDINGS = {
    "T5 succeed": (lambda store, claim: store.succeed(claim, '"done"'), JobStatus.SUCCEEDED),
    "T6 fail": (lambda store, claim: store.fail(claim, "broken"), JobStatus.FAILED),
    "T6 time_out": (lambda store, claim: store.time_out(claim, "too slow"), JobStatus.TIMEOUT),
}
ending = pytest.mark.parametrize(("end", "status"), ENDINGS.values(), ids=ENDINGS)


def claim_with_everything(store):
    job = create(
        store,
        lock_key="key",
        sealed_environment="sealed",
        scoped_permissions=[{"resource_type": "experiment", "resource_identifier": "1"}],
    )
    (claimed,) = claim(store).claimed
    store.update_job_progress(job.job_id, "half", JobProgress(completed=1, total=2))
    change_raw(store, job.job_id, token_hash="0" * 64, next_attempt_at=1)
    return claimed


@ending
def test_an_end_clears_what_only_a_live_job_needs(store, end, status):
    claimed = claim_with_everything(store)

    assert end(store, claimed.claim) is APPLIED

    row = row_of(store, claimed.claim.job_id)
    assert row.status == status.to_int()
    for column in (
        "lease_expires_at",
        "status_message",
        "progress",
        "progress_updated_at",
        "token_hash",
        "scoped_permissions",
        "next_attempt_at",
        "sealed_environment",
    ):
        assert getattr(row, column) is None, column
    assert locks_of(store) == {}
    assert row.finished_at == row.last_update_time >= row.started_at


@ending
def test_a_job_in_recovery_can_still_be_ended_by_its_owner(store, end, status):
    claimed = claim_one(store)
    to_recovery(store, claimed)

    assert end(store, claimed.claim) is APPLIED
    assert status_of(store, claimed.claim.job_id) is status


@ending
def test_the_same_end_again_changes_nothing_and_is_no_error(store, end, status):
    claimed = claim_one(store)
    end(store, claimed.claim)
    before = row_of(store, claimed.claim.job_id)

    assert end(store, claimed.claim) is APPLIED
    assert row_of(store, claimed.claim.job_id) == before


@ending
def test_another_end_of_an_ended_job_is_refused(store, end, status):
    claimed = claim_one(store)
    end(store, claimed.claim)
    before = row_of(store, claimed.claim.job_id)

    others = [other for other, ended in ENDINGS.values() if ended is not status]
    assert [other(store, claimed.claim) for other in others] == [WRONG_STATE, WRONG_STATE]
    assert row_of(store, claimed.claim.job_id) == before


@ending
def test_an_end_of_a_deleted_job_is_a_lost_claim(store, end, status):
    assert end(store, Claim("gone", 1)) is CLAIM_LOST


def test_result_is_shown_for_success_and_error_message_otherwise(store):
    succeeded = claim_one(store).claim
    store.succeed(succeeded, '{"score": 1}')
    failed = claim_one(store).claim
    store.fail(failed, "broken")

    good = store.get_job(succeeded.job_id)
    bad = store.get_job(failed.job_id)
    assert (good.parsed_result, good.error_message) == ({"score": 1}, None)
    assert (bad.error_message, bad.result) == ("broken", "broken")


def test_retry_makes_the_job_due_again_after_the_delay(store, clock):
    claimed = claim_with_everything(store)

    assert store.retry(claimed.claim, "flaky", delay_seconds=15) is APPLIED

    row = row_of(store, claimed.claim.job_id)
    assert row.retry_count == 1
    assert row.next_attempt_at == row.last_update_time + 15_000
    assert (row.result, row.lease_expires_at, row.token_hash, row.progress) == (None,) * 4
    assert row.status_message == "flaky"
    assert locks_of(store) == {}
    clock.advance(seconds=14)
    assert claim(store).claimed == []
    clock.advance(seconds=2)
    assert [job.claim for job in claim(store).claimed] == [Claim(row.id, 2)]


def test_retry_and_requeue_keep_what_the_next_attempt_needs(store):
    claimed = claim_with_everything(store)
    store.retry(claimed.claim, "flaky", delay_seconds=0)
    (again,) = claim(store).claimed
    store.requeue(to_recovery(store, again), lead(store), max_recoveries=3)
    (third,) = claim(store).claimed

    assert third.sealed_environment == "sealed"
    assert row_of(store, third.claim.job_id).scoped_permissions is not None


def test_retry_of_a_job_that_waits_already_is_refused(store):
    claimed = claim_one(store)
    store.retry(claimed.claim, "flaky", delay_seconds=0)

    assert store.retry(claimed.claim, "flaky", delay_seconds=0) is WRONG_STATE
    assert row_of(store, claimed.claim.job_id).retry_count == 1


def test_abandon_hands_only_our_running_jobs_to_recovery(store):
    ours, ended = claim_one(store).claim, claim_one(store).claim
    store.succeed(ended, None)

    assert store.abandon([ours, ended, Claim(ours.job_id, 7), Claim("gone", 1)]) == 1
    row = row_of(store, ours.job_id)
    assert JobStatus.from_int(row.status) is JobStatus.NEEDS_RECOVERY
    assert row.lease_expires_at is None
    assert status_of(store, ended.job_id) is JobStatus.SUCCEEDED


def test_abandoning_nothing_changes_nothing(store):
    claimed = claim_one(store)

    assert store.abandon([]) == 0
    assert store.renew([], 30) == set()
    assert store.not_running([]) == {}
    assert status_of(store, claimed.claim.job_id) is JobStatus.RUNNING


def test_cancel_of_a_running_job_keeps_lease_and_lock_until_its_owner_confirms(store):
    claimed = claim_with_everything(store)
    lease = row_of(store, claimed.claim.job_id).lease_expires_at

    job = store.cancel_job(claimed.claim.job_id)

    row = row_of(store, claimed.claim.job_id)
    assert job.status is JobStatus.CANCELED
    assert row.lease_expires_at == lease
    assert (row.progress, row.token_hash, row.sealed_environment) == (None, None, None)
    assert locks_of(store) == {"key": (claimed.claim.job_id, 1)}
    assert store.confirm_canceled(Claim(claimed.claim.job_id, 9)) is CLAIM_LOST
    assert locks_of(store) != {}
    assert store.confirm_canceled(claimed.claim) is APPLIED
    assert row_of(store, claimed.claim.job_id).lease_expires_at is None
    assert locks_of(store) == {}


def test_cancel_of_a_job_in_recovery_frees_its_lock(store):
    claimed = claim_with_everything(store)
    to_recovery(store, claimed)

    store.cancel_job(claimed.claim.job_id)

    assert locks_of(store) == {}


def test_confirming_a_job_that_is_not_canceled_is_refused(store):
    claimed = claim_one(store)

    assert store.confirm_canceled(claimed.claim) is WRONG_STATE
    assert row_of(store, claimed.claim.job_id).lease_expires_at is not None


def test_a_waiting_job_is_canceled_and_never_claimed(store):
    job = create(store)

    store.cancel_job(job.job_id)

    assert claim(store).claimed == []
    assert store.get_job(job.job_id).status is JobStatus.CANCELED


@pytest.mark.parametrize("end", ["succeed", "cancel"])
def test_cancel_of_a_finalized_job_is_a_client_error(store, end):
    claimed = claim_one(store)
    if end == "succeed":
        store.succeed(claimed.claim, None)
    else:
        store.cancel_job(claimed.claim.job_id)

    with pytest.raises(JobTerminalStateUpdateException, match=claimed.claim.job_id) as refused:
        store.cancel_job(claimed.claim.job_id)
    assert refused.value.get_http_status_code() == 400


def test_an_unknown_job_is_not_found(store):
    for verb in (store.get_job, store.cancel_job):
        with pytest.raises(JobNotFound, match="nowhere") as missing:
            verb("nowhere")
        assert missing.value.get_http_status_code() == 404


def test_an_owner_finds_out_which_of_its_jobs_it_must_stop(store):
    running, canceled, ended = (claim_one(store).claim for _ in range(3))
    store.cancel_job(canceled.job_id)
    store.succeed(ended, None)
    old = Claim(running.job_id, 0)

    assert store.not_running([running, canceled, ended, old, Claim("gone", 1)]) == {
        canceled: JobStatus.CANCELED,
        ended: JobStatus.SUCCEEDED,
        old: JobStatus.RUNNING,
        Claim("gone", 1): None,
    }


@pytest.mark.parametrize("result", ['{"a": NaN}', "[-Infinity]", '"\x00"', '"\ud800"'])
def test_a_result_that_is_not_portable_json_is_refused_by_name(store, result):
    claimed = claim_one(store)

    with pytest.raises(InvalidJobField, match="`result`"):
        store.succeed(claimed.claim, result)
    assert status_of(store, claimed.claim.job_id) is JobStatus.RUNNING


def test_an_error_that_cannot_be_stored_as_it_is_still_ends_the_job(store):
    claimed = claim_one(store)

    assert store.fail(claimed.claim, "a\x00b\ud800c" + "é" * MAX_ERROR_BYTES) is APPLIED
    message = store.get_job(claimed.claim.job_id).error_message
    assert message.startswith("a\ufffdb\ufffdcé")
    assert len(message.encode()) <= MAX_ERROR_BYTES


@pytest.mark.parametrize(
    "report",
    [
        lambda store, job_id: store.update_job_progress(job_id, "half"),
        lambda store, job_id: store.update_status_details(job_id, {"a": 1}),
    ],
)
def test_a_report_is_shown_as_the_last_update(store, clock, report):
    claimed = claim_one(store).claim
    before = store.get_job(claimed.job_id).last_update_time
    clock.advance(seconds=5)
    report(store, claimed.job_id)

    assert store.get_job(claimed.job_id).last_update_time >= before + 5_000


def test_progress_and_details_are_merged_and_shown(store):
    job = create(store)
    store.update_job_progress(job.job_id, "one")
    store.update_job_progress(job.job_id, progress=JobProgress(phase="p", completed=1, total=4))
    store.update_status_details(job.job_id, {"a": 1, "b": 1})
    store.update_status_details(job.job_id, {"b": 2})

    shown = store.get_job(job.job_id)
    assert shown.status_message == "one"
    assert shown.progress == JobProgress(phase="p", completed=1, total=4)
    assert shown.progress_updated_at is not None
    assert shown.status_details == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda store, id_: store.update_job_progress(id_, "x\x00"), "message"),
        (lambda store, id_: store.update_job_progress(id_, "é" * MAX_MESSAGE_BYTES), "message"),
        (
            lambda store, id_: store.update_job_progress(
                id_, progress=JobProgress(completed=float("nan"))
            ),
            "progress",
        ),
        (lambda store, id_: store.update_status_details(id_, {"a": ["\x00"]}), "status_details"),
        (lambda store, id_: store.update_status_details(id_, {"\ud800": 1}), "status_details"),
        (lambda store, id_: store.update_status_details(id_, {"a": object()}), "status_details"),
        (
            lambda store, id_: store.update_status_details(id_, {"a": "x" * MAX_TREE_BYTES}),
            "status_details",
        ),
        (
            lambda store, id_: store.update_job_progress(
                id_, progress=JobProgress(phase="x" * MAX_TREE_BYTES)
            ),
            "progress",
        ),
    ],
)
def test_progress_that_cannot_be_stored_is_refused_by_name(store, call, field):
    job = create(store)

    with pytest.raises(InvalidJobField, match=f"`{field}`") as refused:
        call(store, job.job_id)
    assert refused.value.get_http_status_code() == 400


def test_progress_of_a_finalized_job_is_refused(store):
    claimed = claim_one(store)
    store.succeed(claimed.claim, None)

    with pytest.raises(JobTerminalStateUpdateException):
        store.update_job_progress(claimed.claim.job_id, "late", fence=1)
    with pytest.raises(JobTerminalStateUpdateException):
        store.update_status_details(claimed.claim.job_id, {"a": 1})
    assert store.get_job(claimed.claim.job_id).status_message is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("job_name", "n" * 501),
        ("params", '{"a": NaN}'),
        ("params", '{"a": "\x00"}'),
        ("creator", "c" * 256),
        ("executor_backend", "b" * 256),
        ("lock_key", "k" * 256),
        ("workspace", "w" * 64),
        ("job_name", None),
        ("job_name", 5),
        ("params", None),
        ("params", {"a": 1}),
        ("creator", "\ud800"),
        ("job_id", "a\x00"),
        *(
            ("timeout", value)
            for value in (0, -1.0, math.nan, math.inf, -math.inf, 1.0e300, 10**400, "5", True)
        ),
    ],
)
def test_a_submission_that_cannot_be_stored_is_refused_by_name(store, field, value):
    with pytest.raises(InvalidJobField, match=f"`{field}`"):
        store.create_job(**{"job_name": "job", "params": "{}", field: value})
    assert list(store.list_jobs()) == []


def test_params_larger_than_a_mysql_text_are_stored_whole(store):
    params = json.dumps({"ids": ["é" * 100_000]})

    (claimed,) = [claim_one(store, params=params)]

    assert claimed.params == json.loads(params)


def test_a_claimed_job_never_shows_its_params_or_environment(store):
    claimed = claim_one(store, params='{"a": "secret"}', sealed_environment="sealed")

    assert "secret" not in repr(claimed) and "sealed" not in repr(claimed).replace("_", "")


def test_a_database_error_never_quotes_the_values_of_the_statement(store):
    create(store, job_id="twice", params='{"a": "secret"}')

    with pytest.raises(MlflowException) as failed:
        create(store, job_id="twice", params='{"a": "secret"}')
    assert "secret" not in str(failed.value)
    assert failed.value.__cause__ is None and failed.value.__context__ is None
