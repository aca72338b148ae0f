"""Listing, paging and single reads, also of rows that cannot be read whole."""

import base64

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import search
from mlflow.store.jobs.errors import InvalidJobField, JobNotFound
from mlflow.store.jobs.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyJobStore
from mlflow.utils.workspace_context import WorkspaceContext
from tests.store.jobs.store_factories import change_raw, claim, claim_one, create


def ids(jobs):
    return [job.job_id for job in jobs]


def create_at(store, *times, **others):
    jobs = [create(store, **others) for _ in times]
    for job, time in zip(jobs, times, strict=True):
        change_raw(store, job.job_id, creation_time=time)
    return ids(jobs)


def test_jobs_are_listed_oldest_first_then_by_id(store):
    first, second, third = create_at(store, 30, 10, 10)

    assert ids(store.list_jobs()) == [*sorted([second, third]), first]


def test_pages_give_every_job_once_also_when_many_are_of_one_time(store):
    expected = create_at(store, *[5] * 4, *[6] * 3)
    pages, token = [], None
    while not pages or token:
        found, token = store.search_jobs(max_results=2, page_token=token)
        pages.append(ids(found))

    assert [len(page) for page in pages] == [2, 2, 2, 1]
    assert [each for page in pages for each in page] == sorted(expected[:4]) + sorted(expected[4:])


def test_a_full_last_page_has_no_next_one(store):
    create_at(store, 1, 2)

    assert store.search_jobs(max_results=2)[1] is None


def test_a_job_that_appears_meanwhile_is_not_shown_twice(store):
    first, second = create_at(store, 10, 20)
    found, token = store.search_jobs(max_results=1)
    create_at(store, 5)

    assert (ids(found), ids(store.search_jobs(page_token=token)[0])) == ([first], [second])


def test_each_filter_selects(store):
    wanted = create(
        store, "other", '{"a": 1}', creator="ann", workspace="team", executor_backend="none"
    )
    change_raw(store, wanted.job_id, creation_time=500)
    for other in create_at(store, 100, 900):
        store.cancel_job(other)

    for condition in (
        {"job_name": "other"},
        {"statuses": [JobStatus.PENDING, JobStatus.RUNNING]},
        {"workspace": "team"},
        {"creator": "ann"},
        {"begin": 500, "end": 500},
        {"params": {"a": 1}},
    ):
        found, token = store.search_jobs(**condition)
        assert (ids(found), token) == ([wanted.job_id], None), condition


def test_no_statuses_is_no_filter_for_a_list_and_none_of_them_for_a_search(store):
    (job_id,) = create_at(store, 1)

    assert ids(store.list_jobs(statuses=[])) == [job_id]
    assert store.search_jobs(statuses=[]) == ([], None)


@pytest.mark.parametrize(
    ("stored", "asked", "matches"),
    [
        ('{"a": 3, "b": 4}', {"a": 3}, True),
        ('{"a": 3, "b": 4}', {"a": 3, "b": 4}, True),
        ('{"a": 3}', {"a": 4}, False),
        ('{"a": 3}', {"b": 3}, False),
        ('{"a": null}', {"b": None}, False),
        ('{"a": {"x": [1]}}', {"a": {"x": [1]}}, True),
        ("not json", {"a": 3}, False),
        ("[3]", {"a": 3}, False),
        ("not json", {}, True),
    ],
)
def test_params_match_when_they_contain_what_is_asked(stored, asked, matches):
    assert search.contains(stored, asked) is matches


def test_what_one_page_reads_is_bounded_and_the_next_page_goes_on(store, monkeypatch):
    monkeypatch.setattr(search, "_MOST_READ", 4)
    monkeypatch.setattr(search, "_CHUNK", 2)
    create_at(store, *range(10))
    (wanted,) = create_at(store, 100, params='{"a": 1}')

    found, token = store.search_jobs(params={"a": 1}, max_results=3)
    assert found == [] and token is not None
    pages = [found]
    while token:
        found, token = store.search_jobs(params={"a": 1}, max_results=3, page_token=token)
        pages.append(found)
    assert [ids(page) for page in pages if page] == [[wanted]]
    assert ids(store.list_jobs(params={"a": 1})) == [wanted]


def token_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "token",
    [
        "?",
        "bm8=",
        "WzFd",
        "W251bGwsICJhIl0=",
        "é",
        7,
        token_of('[1, "\\u0000"]'),
        token_of('[1, "\\ud800"]'),
        token_of('[-1, "a"]'),
        token_of(f'[{2**63}, "a"]'),
        token_of(f'[{"1" * 5000}, "a"]'),
        pytest.param(token_of("[" * 100_000 + "]" * 100_000), id="deep"),
    ],
)
def test_a_page_token_of_somebody_else_is_a_client_error(store, token):
    with pytest.raises(InvalidJobField, match="`page_token`") as refused:
        store.search_jobs(page_token=token)
    assert refused.value.get_http_status_code() == 400


@pytest.mark.parametrize("max_results", [0, -1, 2**31, 10**30, 1.5, "5"])
def test_a_page_of_an_impossible_size_is_a_client_error(store, max_results):
    with pytest.raises(InvalidJobField, match="`max_results`"):
        store.search_jobs(max_results=max_results)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("job_name", "a\x00"),
        ("job_name", 5),
        ("creator", "\ud800"),
        ("workspace", "a\x00"),
        ("begin", 10**30),
        ("begin", "yesterday"),
        ("end", -(10**30)),
        ("end", float("nan")),
    ],
)
def test_what_no_database_can_be_asked_for_is_a_client_error(store, field, value):
    with pytest.raises(InvalidJobField, match=f"`{field}`") as refused:
        store.search_jobs(**{field: value})
    assert refused.value.get_http_status_code() == 400


@pytest.mark.parametrize("job_id", ["a\x00", "\ud800", 5, None])
@pytest.mark.parametrize(
    "verb",
    ["get_job", "cancel_job", "start_job", "reset_job", "claim_job", "update_job_progress"],
)
def test_an_id_that_no_job_can_have_is_not_found(store, verb, job_id):
    with pytest.raises(JobNotFound):
        getattr(store, verb)(job_id)


def test_deletion_passes_over_ids_that_no_job_can_have(store):
    job_id = create(store).job_id
    store.cancel_job(job_id)

    assert store.delete_jobs(job_ids=["a\x00", "\ud800"]) == []
    assert store.delete_jobs(job_ids=["a\x00", job_id]) == [job_id]
    with pytest.raises(InvalidJobField, match="`older_than`"):
        store.delete_jobs(older_than=10**30)


def test_a_row_with_unreadable_json_is_shown_without_it(store):
    (job_id,) = create_at(store, 1)
    with store.engine.begin() as connection:
        if store.db_type == "sqlite":
            connection.exec_driver_sql(
                "UPDATE jobs SET progress = '{broken', status_details = '[', "
                "scoped_permissions = 'null', params = '{broken'"
            )
        else:
            connection.exec_driver_sql(
                "UPDATE jobs SET progress = '[1]', status_details = 'null', "
                "scoped_permissions = '{\"a\": 1}', params = '{broken'"
            )

    (shown,) = store.list_jobs()

    assert shown.job_id == job_id
    assert (shown.progress, shown.status_details, shown.scoped_permissions) == (None, None, None)
    assert store.get_job(job_id).params == "{broken"


def test_a_store_of_one_workspace_shows_and_changes_only_that_workspace(
    store, database_uri, monkeypatch
):
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    scoped = WorkspaceAwareSqlAlchemyJobStore(database_uri)
    theirs = create(store, workspace="theirs")
    with WorkspaceContext("ours"):
        ours = create(scoped, workspace="theirs")

        assert ours.workspace == "ours"
        assert ids(scoped.list_jobs()) == [ours.job_id]
        assert scoped.search_jobs(workspace="theirs") == ([], None)
        for verb in (scoped.get_job, scoped.cancel_job, scoped.start_job, scoped.reset_job):
            with pytest.raises(Exception, match="not found"):
                verb(theirs.job_id)
        with pytest.raises(Exception, match="not found"):
            scoped.update_job_progress(theirs.job_id, "x")
        store.cancel_job(theirs.job_id)
        store.cancel_job(ours.job_id)
        assert scoped.delete_jobs(job_ids=[theirs.job_id]) == []
        assert scoped.delete_jobs() == [ours.job_id]
    assert ids(store.list_jobs()) == [theirs.job_id]


def test_a_runner_claims_jobs_of_every_workspace(store):
    expected = {create(store, workspace=name).job_id for name in ("one", "two")}

    assert {job.claim.job_id for job in claim(store).claimed} == expected


def test_the_statuses_of_those_that_exist(store):
    ended = claim_one(store)
    store.succeed(ended.claim, "1")
    waiting = create(store)
    ids = [waiting.job_id, ended.claim.job_id, "none"]

    assert store.statuses(ids) == {
        waiting.job_id: JobStatus.PENDING,
        ended.claim.job_id: JobStatus.SUCCEEDED,
    }
    assert store.statuses([]) == {}
