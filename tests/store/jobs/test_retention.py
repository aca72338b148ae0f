"""Which jobs are deleted, and which never are."""

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import retention
from tests.store.jobs.store_factories import (
    LEASE_SECONDS,
    change_raw,
    claim_one,
    create,
    lead,
    locks_of,
)

DAY = 24 * 3600


def ended(store, status=JobStatus.SUCCEEDED, **creation):
    job = create(store, **creation)
    store.cancel_job(job.job_id)
    change_raw(store, job.job_id, status=status.to_int())
    return job.job_id


def left(store):
    return {job.job_id for job in store.list_jobs()}


def test_an_empty_list_of_ids_deletes_nothing(store):
    job_id = ended(store)

    assert store.delete_jobs(job_ids=[]) == []
    assert left(store) == {job_id}


def test_only_terminal_jobs_are_deleted(store):
    terminal = {
        ended(store, status)
        for status in (
            JobStatus.SUCCEEDED,
            JobStatus.FAILED,
            JobStatus.TIMEOUT,
            JobStatus.CANCELED,
        )
    }
    running = claim_one(store).claim.job_id
    abandoned = claim_one(store).claim
    store.abandon([abandoned])
    waiting = create(store).job_id

    assert set(store.delete_jobs()) == terminal
    assert left(store) == {running, abandoned.job_id, waiting}


def test_ids_and_age_limit_what_is_deleted(store, clock):
    old, old_unnamed = ended(store), ended(store)
    clock.advance(seconds=100)
    young = ended(store)

    assert store.delete_jobs(older_than=50_000, job_ids=[old, young]) == [old]
    assert left(store) == {old_unnamed, young}
    assert store.delete_jobs(older_than=50_000) == [old_unnamed]


def test_more_ids_than_one_statement_takes_are_deleted(store, monkeypatch):
    monkeypatch.setattr(retention, "_CHUNK", 2)
    ids = [ended(store) for _ in range(5)]

    assert sorted(store.delete_jobs(job_ids=ids)) == sorted(ids)
    assert left(store) == set()


def test_a_canceled_job_stays_while_its_work_may_live(store, clock):
    claimed = claim_one(store, lock_key="key").claim
    store.cancel_job(claimed.job_id)

    assert store.delete_jobs(job_ids=[claimed.job_id]) == []
    assert locks_of(store) != {}
    clock.advance(seconds=LEASE_SECONDS + 1)
    assert store.delete_jobs() == [claimed.job_id]
    assert locks_of(store) == {}


def test_terminal_jobs_go_after_their_time_to_live(store, clock):
    old = ended(store, JobStatus.FAILED)
    clock.advance(seconds=60)
    young = ended(store)
    waiting = create(store).job_id
    clock.advance(seconds=60)

    assert not store.has_expired()
    assert not store.has_expired(completed_ttl_seconds=130)
    assert store.has_expired(completed_ttl_seconds=100)
    assert store.delete_expired(lead(store), completed_ttl_seconds=100) == 1
    assert not store.has_expired(completed_ttl_seconds=100)
    assert left(store) == {young, waiting}
    assert old not in left(store)


def test_without_a_time_to_live_only_canceled_jobs_of_discovery_go_after_a_day(store, clock):
    term = lead(store)
    discovered = ended(store, JobStatus.CANCELED, term=term)
    kept = {
        ended(store, JobStatus.SUCCEEDED, term=term),
        ended(store, JobStatus.CANCELED),
    }
    clock.advance(seconds=DAY - 60)
    assert not store.has_expired()
    assert store.delete_expired(lead(store)) == 0
    clock.advance(seconds=120)

    assert store.has_expired()
    assert store.delete_expired(lead(store)) == 1
    assert not store.has_expired()
    assert left(store) == kept
    assert discovered not in kept


def test_one_deletion_is_bounded(store, clock):
    for _ in range(5):
        ended(store)
    clock.advance(seconds=60)
    term = lead(store)

    deleted = [store.delete_expired(term, completed_ttl_seconds=30, limit=2) for _ in range(4)]
    assert deleted == [2, 2, 1, 0]


def test_only_the_leader_deletes_what_has_expired(store, clock):
    job_id = ended(store)
    term = lead(store)
    clock.advance(seconds=60)

    assert store.delete_expired(term, completed_ttl_seconds=30) == 0
    assert left(store) == {job_id}
