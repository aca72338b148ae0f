"""T1 without a term: one job, answered as it is stored; many jobs, all of them or none."""

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import dialects
from mlflow.store.jobs.errors import InvalidJobField, JobStoreUnavailable, LeadershipLost
from mlflow.store.jobs.values import NewJob
from tests.store.jobs.store_factories import claim, create, lead, row_of

GRANT = {"resource_type": "experiment", "resource_identifier": "7", "permission": "EDIT"}
FIELDS = {
    "timeout": 12.5,
    "creator": "alice",
    "executor_backend": "local",
    "lock_key": "key",
    "sealed_environment": "sealed",
    "scoped_permissions": [GRANT],
    "workspace": "default",
}


@pytest.mark.parametrize("answers_row", [True, False])
def test_a_created_job_is_answered_as_it_is_stored(store, monkeypatch, answers_row):
    if not answers_row:
        monkeypatch.setattr(dialects, "inserts_return_rows", lambda connection: False)
    created = create(store, params='{"x": 1}', **FIELDS)
    assert vars(created) == vars(store.get_job(created.job_id))
    assert created.status is JobStatus.PENDING
    assert [each.permission for each in created.scoped_permissions] == ["EDIT"]
    assert created.had_extra_envs


@pytest.mark.parametrize("answers_row", [True, False])
@pytest.mark.parametrize("has_term", [False, True])
def test_who_is_called_at_the_commit_finds_the_job(store, monkeypatch, answers_row, has_term):
    if not answers_row:
        monkeypatch.setattr(dialects, "inserts_return_rows", lambda connection: False)
    found = []

    def look_over_another_connection():
        found.append(store.get_job("mine").job_id)

    create(
        store,
        job_id="mine",
        term=lead(store) if has_term else None,
        on_committed=look_over_another_connection,
    )
    assert found == ["mine"]


def test_nobody_is_called_when_nothing_was_inserted(store):
    calls = []
    term = lead(store)

    def create_again(term):
        return create(
            store,
            job_id="mine",
            lock_key="key",
            term=term,
            on_committed=lambda: calls.append("called"),
        )

    assert create_again(term) is not None
    assert create_again(term) is None
    with pytest.raises(JobStoreUnavailable):
        create_again(None)
    assert store.release_scheduler_lease(term)
    with pytest.raises(LeadershipLost):
        create_again(term)
    assert calls == ["called"]


def test_many_jobs_are_stored_as_each_would_be_alone(store):
    alone = row_of(store, create(store, params='{"x": 1}', **FIELDS).job_id)._asdict()

    ids = store.create_jobs([NewJob("job", '{"x": 1}', **FIELDS)] * 3)

    assert len(set(ids)) == 3
    for job_id in ids:
        row = row_of(store, job_id)._asdict()
        differing = {name for name, value in row.items() if value != alone[name]}
        assert differing <= {"id", "creation_time", "last_update_time"}


def test_many_jobs_are_answered_in_order_with_the_ids_that_were_given(store):
    given = [NewJob("job", "{}"), NewJob("other", "{}", job_id="mine")]
    first, second = store.create_jobs(given)
    assert second == "mine"
    assert row_of(store, first).job_name == "job"
    assert row_of(store, second).job_name == "other"


def test_more_jobs_than_fit_one_statement_are_all_claimable(store):
    ids = store.create_jobs([NewJob("job", "{}")] * 2500)
    assert len(ids) == 2500
    claimed = claim(store, capacity={"job": 3000}).claimed
    assert {each.claim.job_id for each in claimed} == {*ids}


def test_one_job_that_cannot_be_stored_keeps_all_from_being(store):
    with pytest.raises(InvalidJobField, match="`params`"):
        store.create_jobs([NewJob("job", "{}"), NewJob("job", '{"x": NaN}')])
    with pytest.raises(JobStoreUnavailable):
        store.create_jobs([NewJob("job", "{}", job_id="same")] * 2)
    assert store.search_jobs() == ([], None)


def test_no_jobs_are_no_statement(store, monkeypatch):
    monkeypatch.setattr(store._transactions, "write", None)
    assert store.create_jobs([]) == []


def test_a_job_to_be_created_never_shows_its_params():
    assert "secret" not in repr(NewJob("job", '"secret"', sealed_environment="secret"))
