"""I2: whatever is tried on a terminal row, it stays as it ended."""

import contextlib

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.exceptions import MlflowException
from mlflow.store.jobs.values import RecoveryCandidate
from tests.store.jobs.store_factories import change_raw, claim, claim_one, lead, row_of

TERMINAL = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.TIMEOUT, JobStatus.CANCELED)


@pytest.mark.parametrize("status", TERMINAL)
def test_no_verb_changes_a_terminal_row(store, status):
    owned = claim_one(store).claim
    store.fail(owned, "the one end")
    change_raw(store, owned.job_id, status=status.to_int())
    term = lead(store)
    candidate = RecoveryCandidate(owned.job_id, owned.fence, None, "job", 0)
    id_ = owned.job_id
    before = row_of(store, id_)

    for verb in (
        lambda: store.succeed(owned, "1"),
        lambda: store.fail(owned, "another end"),
        lambda: store.time_out(owned, "another end"),
        lambda: store.retry(owned, "again", 0),
        lambda: store.renew([owned], 30),
        lambda: store.abandon([owned]),
        lambda: store.cancel_job(id_),
        lambda: store.sweep(term),
        lambda: store.reattach(candidate, "b", 30, term),
        lambda: store.requeue(candidate, term, 3),
        lambda: store.requeue(candidate, term, 3, "died"),
        lambda: store.requeue(candidate, term, 0, "died"),
        lambda: store.fail_recovery(candidate, "another end", term),
        lambda: store.update_job_progress(id_, "late"),
        lambda: store.update_status_details(id_, {"late": 1}),
        lambda: claim(store),
        lambda: store.claim_job(id_, 30),
        lambda: store.start_job(id_),
        lambda: store.reset_job(id_),
        lambda: store.requeue_job(id_),
        lambda: store.retry_job(id_),
        lambda: store.retry_or_fail_job(id_, "again"),
        lambda: store.finish_job(id_, "1"),
        lambda: store.fail_job(id_, "another end"),
        lambda: store.mark_job_timed_out(id_),
        lambda: store.mark_job_needs_recovery(id_),
        lambda: store.reattach_job(id_, 30),
        lambda: store.report_job_result(id_, JobStatus.SUCCEEDED, result="1"),
    ):
        with contextlib.suppress(MlflowException):
            verb()
        assert row_of(store, id_) == before
