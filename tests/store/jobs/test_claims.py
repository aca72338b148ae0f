"""T2: which jobs a claim takes, in which order, and what it gives them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import tables
from mlflow.store.jobs.values import Claim, DueWork
from tests.store.jobs.store_factories import (
    LEASE_SECONDS,
    change_raw,
    claim,
    claim_one,
    create,
    insert_raw,
    lead,
    row_of,
    status_of,
)


def ids(jobs):
    return [job.job_id if hasattr(job, "job_id") else job.claim.job_id for job in jobs]


def test_a_claim_gives_fence_lease_and_owner(store):
    job = create(store, timeout=5.0, creator="ann", executor_backend="local", params='{"a": [1]}')

    (claimed,) = claim(store, "replica-a").claimed

    row = row_of(store, job.job_id)
    assert claimed.claim == Claim(job.job_id, 1)
    assert (claimed.params, claimed.timeout, claimed.creator) == ({"a": [1]}, 5.0, "ann")
    assert (claimed.backend, claimed.workspace, claimed.retry_count) == ("local", "default", 0)
    assert (JobStatus.from_int(row.status), row.fence) == (JobStatus.RUNNING, 1)
    assert row.claimed_by == "replica-a"
    assert row.started_at == row.last_update_time
    assert row.lease_expires_at == row.started_at + LEASE_SECONDS * 1000


def test_every_claim_raises_the_fence(store):
    claimed = claim_one(store)
    for fence in (2, 3):
        store.retry(claimed.claim, "flaky", delay_seconds=0)
        (claimed,) = claim(store).claimed
        assert claimed.claim.fence == fence


def test_a_claimed_job_is_not_claimed_again(store):
    create(store)

    assert len(claim(store, "replica-a").claimed) == 1
    assert claim(store, "replica-b").claimed == []


def test_the_oldest_due_is_claimed_first(store, clock):
    first = create(store)
    clock.advance(seconds=1)
    retried = claim_one_of(store, first)
    clock.advance(seconds=1)
    second = create(store)
    clock.advance(seconds=10)
    third = create(store)
    store.retry(retried.claim, "flaky", delay_seconds=-5)

    batches = [ids(claim(store, capacity={"job": 1}).claimed) for _ in range(3)]
    assert batches == [[second.job_id], [first.job_id], [third.job_id]]


def claim_one_of(store, job):
    (claimed,) = claim(store, capacity={"job": 1}).claimed
    assert claimed.claim.job_id == job.job_id
    return claimed


def test_a_batch_is_in_order_of_due_time(store, clock):
    jobs = []
    for name in ("job", "other", "job"):
        jobs.append(create(store, job_name=name))
        clock.advance(seconds=1)

    assert ids(claim(store).claimed) == ids(jobs)


def test_a_job_of_a_full_type_is_left_and_does_not_hold_up_others(store, clock):
    for _ in range(5):
        create(store, job_name="job")
    clock.advance(seconds=1)
    late = create(store, job_name="other")

    assert ids(claim(store, capacity={"job": 0, "other": 2}).claimed) == [late.job_id]


def test_no_type_takes_the_slots_of_another(store):
    for name in ("job", "other"):
        for _ in range(5):
            create(store, job_name=name)

    claimed = claim(store, capacity={"job": 2, "other": 3}).claimed

    assert sorted(job.job_name for job in claimed) == ["job"] * 2 + ["other"] * 3


def test_new_and_retried_jobs_share_the_slots_of_their_type(store):
    for _ in range(3):
        create(store)
    for job in claim(store).claimed:
        store.retry(job.claim, "flaky", delay_seconds=-1)
    for _ in range(3):
        create(store)

    assert [len(claim(store, capacity={"job": 4}).claimed) for _ in range(3)] == [4, 2, 0]


def test_a_job_of_another_backend_is_left(store):
    create(store, executor_backend="ray:gpu-pool")
    local = create(store, executor_backend="local")

    assert ids(claim(store, backends=["local"]).claimed) == [local.job_id]


@pytest.mark.parametrize(("backends", "found"), [(["local"], 0), ([None], 1), ([None, "local"], 1)])
def test_a_job_without_a_backend_is_claimed_where_such_jobs_are_served(store, backends, found):
    create(store)

    assert len(claim(store, backends=backends).claimed) == found


@pytest.mark.parametrize(("backends", "capacity"), [([], {"job": 1}), ([None], {})])
def test_serving_nothing_claims_nothing(store, backends, capacity):
    create(store)

    assert claim(store, backends=backends, capacity=capacity).claimed == []


def test_a_job_that_is_not_due_yet_is_left_until_it_is(store, clock):
    store.retry(claim_one(store).claim, "flaky", delay_seconds=60)

    clock.advance(seconds=59)
    assert claim(store).claimed == []
    clock.advance(seconds=2)
    assert len(claim(store).claimed) == 1


def test_a_row_of_stock_mlflow_is_claimed_and_finished(store):
    insert_raw(
        store,
        tables.jobs,
        id="stock",
        creation_time=store.now_ms() + 3_600_000,
        job_name="job",
        params='{"a": 1}',
        workspace="default",
        status=0,
        retry_count=0,
        last_update_time=0,
    )

    (claimed,) = claim(store, lock_key_for=lambda *job: "key").claimed

    assert (claimed.claim, claimed.timeout, claimed.backend) == (Claim("stock", 1), None, None)
    assert (claimed.lock_key, row_of(store, "stock").lock_key) == ("key", "key")
    store.succeed(claimed.claim, "1")
    assert status_of(store, "stock") is JobStatus.SUCCEEDED


def test_the_lock_key_of_a_row_without_one_is_asked_with_its_facts(store):
    create(store, params='{"a": 1}', workspace="team")
    asked = []

    claim(store, lock_key_for=lambda *facts: asked.append(facts))

    assert asked == [("job", {"a": 1}, "team")]


@pytest.mark.parametrize("params", ["{broken", "[1]", "null"])
def test_a_row_that_cannot_be_read_fails_and_holds_up_nobody(store, clock, params):
    broken = create(store)
    change_raw(store, broken.job_id, params=params)
    clock.advance(seconds=1)
    good = create(store)

    assert ids(claim(store).claimed) == [good.job_id]
    failed = store.get_job(broken.job_id)
    assert (failed.status, "params" in failed.error_message) == (JobStatus.FAILED, True)


def test_renewal_extends_the_lease_from_now(store, clock):
    claimed = claim_one(store)
    clock.advance(seconds=20)

    assert store.renew([claimed.claim], 45) == set()

    row = row_of(store, claimed.claim.job_id)
    assert 45_000 <= row.lease_expires_at - row.started_at - 20_000 < 46_000 + 9_000


def test_one_renewal_answers_exactly_the_lost_claims(store):
    held, canceled, ended, retried = (claim_one(store).claim for _ in range(4))
    store.cancel_job(canceled.job_id)
    store.fail(ended, "broken")
    store.retry(retried, "flaky", delay_seconds=0)
    gone, old = Claim("gone", 1), Claim(held.job_id, 0)

    lost = store.renew([held, canceled, ended, retried, gone, old], LEASE_SECONDS)

    assert lost == {canceled, ended, retried, gone, old}


def test_a_job_in_recovery_is_not_renewed(store):
    claimed = claim_one(store)
    store.abandon([claimed.claim])

    assert store.renew([claimed.claim], LEASE_SECONDS) == {claimed.claim}
    assert row_of(store, claimed.claim.job_id).lease_expires_at is None


def test_runners_that_claim_at_once_share_the_jobs_without_overlap(store):
    expected = {create(store).job_id for _ in range(40)}
    start = threading.Barrier(4)

    def run(replica):
        start.wait()
        found = []
        while batch := claim(store, replica, capacity={"job": 3}).claimed:
            found += batch
        return found

    with ThreadPoolExecutor(4) as runners:
        found = [job for claimed in runners.map(run, "abcd") for job in claimed]
    found += claim(store, capacity={"job": 40}).claimed

    assert sorted(ids(found)) == sorted(expected)
    assert all(job.claim.fence == 1 for job in found)


def test_a_discovered_job_is_claimed_like_any_other(store):
    job = create(store, term=lead(store), lock_key="key")

    assert ids(claim(store).claimed) == [job.job_id]


@pytest.mark.parametrize("backend", [None, "local"])
def test_a_look_finds_what_a_claim_would_find(store, clock, backend):
    def found():
        return store.due_work([None, "local"], ["other", "job"]).ordinary

    assert not found()
    create(store, executor_backend="ray")
    create(store, job_name="third", executor_backend=backend)
    assert not found()
    create(store, executor_backend=backend)
    assert found()
    (claimed,) = claim(store).claimed
    assert not found()
    store.retry(claimed.claim, "again", 60.0)
    assert not found()
    clock.advance(seconds=61)
    assert found()
    assert store.due_work([], ["job"], ["job"]) == DueWork(False)
    assert store.due_work(["local"], []) == DueWork(False)


def test_a_claim_may_pass_over_what_was_created_before_a_time(store, clock):
    before = create(store)
    clock.advance(seconds=1)
    front, other = create(store), create(store, "other")
    since = {"job": front.creation_time}

    batch = claim(store, created_since=since)

    assert {job.claim.job_id for job in batch.claimed} == {front.job_id, other.job_id}
    assert batch.newest == {"job": front.creation_time, "other": other.creation_time}
    assert ids(claim(store).claimed) == [before.job_id]


def test_retries_and_other_job_types_are_not_passed_over(store, clock):
    retried = claim_one(store)
    store.retry(retried.claim, "flaky", delay_seconds=0)
    other = create(store, "other")
    clock.advance(seconds=1)
    since = {"job": create(store).creation_time + 1}

    batch = claim(store, created_since=since)

    assert {job.claim.job_id for job in batch.claimed} == {retried.claim.job_id, other.job_id}
    assert batch.newest == {"other": other.creation_time}


def test_a_claim_passes_over_nothing_unless_told_to(store):
    job = create(store)
    change_raw(store, job.job_id, creation_time=-5)

    assert ids(claim(store).claimed) == [job.job_id]
