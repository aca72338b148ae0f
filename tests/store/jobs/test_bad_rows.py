"""A row that other software broke spoils nothing but itself: every verb still serves the others."""

import json

import pytest
import sqlalchemy

from mlflow.entities._job import JobProgress
from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import tables
from mlflow.store.jobs.errors import UnknownJobStatus
from mlflow.store.jobs.values import Claim, JobUpdateStatus
from tests.store.jobs.store_factories import (
    LEASE_SECONDS,
    change_raw,
    claim,
    claim_one,
    create,
    insert_raw,
    lead,
    status_of,
)

LAST = 2**63 - 1
DEEP = '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"

BROKEN = {
    "params that are not JSON": {"params": "{broken"},
    "params that are no object": {"params": "[1]"},
    "params nested too deep": {"params": DEEP},
    "a timeout beyond any date": {"timeout": 1e300},
    "a negative timeout beyond any date": {"timeout": -1e300},
    "an infinite timeout": {"timeout": float("inf")},
    "a negative infinite timeout": {"timeout": -float("inf")},
    "a timeout that is no number": {"timeout": float("nan")},
    "a start at the end of time": {"started_at": LAST, "timeout": 60.0},
    "progress of other types": {"progress": {"phase": [1], "completed": "many", "total": True}},
    "details of another type": {"status_details": [1]},
    "permissions of another shape": {"scoped_permissions": [{"a": 1}, 2]},
}
UNREADABLE_PARAMS = [name for name in BROKEN if name.startswith("params")]


@pytest.fixture(params=BROKEN)
def broken(request, store):
    values = BROKEN[request.param]
    timeout = values.get("timeout", 0.0)
    if store.db_type == "mysql" and not abs(timeout) < float("inf"):
        pytest.skip("MySQL has no such number")
    return request.param, values


def test_what_it_holds_hides_no_other_job_from_a_claim_a_search_or_a_reader(store, broken):
    name, values = broken
    bad, good = create(store).job_id, create(store).job_id
    change_raw(store, bad, **values)

    claimed = {job.claim.job_id for job in claim(store, lock_key_for=lambda *facts: None).claimed}

    assert claimed == ({good} if name in UNREADABLE_PARAMS else {good, bad})
    assert {job.job_id for job in store.search_jobs(params={})[0]} == {bad, good}
    assert store.search_jobs(params={"absent": 1}) == ([], None)
    assert store.get_job(good).status is JobStatus.RUNNING
    assert store.get_job(bad).job_id == bad


def test_a_search_passes_over_a_row_of_a_state_that_it_does_not_know(store):
    unknown, known = (create(store, creator="ann", workspace="team").job_id for _ in range(2))
    change_raw(store, unknown, status=42)

    for condition in ({}, {"job_name": "job"}, {"creator": "ann"}, {"workspace": "team"}):
        found, _ = store.search_jobs(**condition)
        assert [job.job_id for job in found] == [known], condition


def test_a_claim_ends_a_job_whose_params_cannot_be_read_with_a_sentence(store):
    for name in UNREADABLE_PARAMS:
        job_id = create(store).job_id
        change_raw(store, job_id, **BROKEN[name])
        assert claim(store).claimed == []
        ended = store.get_job(job_id)
        assert ended.status is JobStatus.FAILED
        assert ended.error_message.startswith("The job's params are n")


def test_the_sweep_recovery_and_the_end_of_other_jobs_go_on(store, broken, clock):
    bad, good = claim_one(store).claim, claim_one(store).claim
    change_raw(store, bad.job_id, **broken[1])
    clock.advance(seconds=LEASE_SECONDS + 1)
    term = lead(store)

    assert store.sweep(term) == 2
    assert {each.job_id for each in store.recovery_candidates()} == {bad.job_id, good.job_id}
    for candidate in store.recovery_candidates():
        assert store.requeue(candidate, term, 3) is JobUpdateStatus.APPLIED
    assert good.job_id in {job.claim.job_id for job in claim(store, "replica-b").claimed}
    assert store.succeed(Claim(good.job_id, good.fence + 1), "1") is JobUpdateStatus.APPLIED
    assert store.delete_jobs(job_ids=[good.job_id]) == [good.job_id]


def test_the_sweep_judges_a_running_job_of_such_times_by_its_lease(store, broken, clock):
    bad = claim_one(store).claim
    change_raw(store, bad.job_id, **broken[1])
    clock.advance(seconds=1)

    # Whose timeout is below zero has overrun it.
    assert store.sweep(lead(store)) == (broken[1].get("timeout", 0.0) < 0)


def test_an_exclusivity_lock_of_such_a_job_is_judged_all_the_same(store, broken):
    bad = claim_one(store, lock_key="key").claim
    change_raw(store, bad.job_id, **broken[1])
    create(store, lock_key="key")

    batch = claim(store, "replica-b")

    # Whose timeout is below zero has overrun it.
    taken_over = broken[1].get("timeout", 0.0) < 0
    assert (len(batch.claimed), len(batch.canceled)) == ((1, 0) if taken_over else (0, 1))


def test_a_lock_from_the_end_of_time_is_held_and_harms_no_other(store):
    held = claim_one(store, lock_key="key", timeout=60.0).claim
    with store.engine.begin() as connection:
        connection.execute(tables.job_locks.update().values(acquired_at=LAST))
    create(store, lock_key="key")
    other = create(store, lock_key="another")

    batch = claim(store)

    assert [job.claim.job_id for job in batch.claimed] == [other.job_id]
    assert status_of(store, held.job_id) is JobStatus.RUNNING


def test_progress_of_other_types_is_shown_as_far_as_it_can_be(store):
    job_id = create(store).job_id
    shown = []
    for progress in (
        {"phase": "p", "completed": 2.0, "total": "4", "unit": 3},
        {"completed": True, "total": 10**400},
        {"completed": 2.7},
    ):
        change_raw(store, job_id, progress=progress)
        shown.append(store.get_job(job_id).progress)

    assert shown == [
        JobProgress(phase="p", completed=2),
        JobProgress(total=10**400),
        JobProgress(completed=2),
    ]


def test_a_status_of_a_later_release_hides_one_row_and_breaks_nothing(store, clock):
    unknown, ours = claim_one(store).claim, claim_one(store).claim
    change_raw(store, unknown.job_id, status=42)

    assert [job.job_id for job in store.list_jobs()] == [ours.job_id]
    for verb, *others in ((store.get_job,), (store.cancel_job,), (store.finish_job, "1")):
        with pytest.raises(UnknownJobStatus, match="42"):
            verb(unknown.job_id, *others)
    assert store.not_running([unknown, ours]) == {unknown: None}
    assert store.renew([unknown, ours], LEASE_SECONDS) == {unknown}
    assert store.succeed(unknown, "1") is JobUpdateStatus.WRONG_STATE
    clock.advance(seconds=LEASE_SECONDS + 1)
    assert store.sweep(lead(store)) == 1
    assert store.delete_jobs() == []


def test_a_row_of_stock_with_json_null_everywhere_is_claimed_and_ended(store):
    """Stock clears its JSON columns to the JSON value null, and stores no timeout or backend."""
    insert_raw(
        store,
        sqlalchemy.table(
            "jobs",
            *(
                sqlalchemy.column(name)
                for name in (
                    *("id", "creation_time", "job_name", "params", "workspace", "status"),
                    *("retry_count", "last_update_time", "status_details", "progress"),
                    "scoped_permissions",
                )
            ),
        ),
        id="stock",
        creation_time=1,
        job_name="job",
        params=json.dumps({"a": 1}),
        workspace="default",
        status=0,
        retry_count=0,
        last_update_time=1,
        status_details="null",
        progress="null",
        scoped_permissions="null",
    )

    (claimed,) = claim(store).claimed
    assert store.update_status_details("stock", {"a": 1}, claimed.claim.fence) == "APPLIED"
    assert store.succeed(claimed.claim, "1") == "APPLIED"
    assert store.get_job("stock").status_details == {"a": 1}
