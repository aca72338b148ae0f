"""`mlflow gc` deletes finished jobs: which, of which age, and of which workspace."""

import json

import pytest
from click.testing import CliRunner

from mlflow.cli import cli
from mlflow.entities.workspace import Workspace
from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.store.jobs import tables
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.workspace.sqlalchemy_store import SqlAlchemyStore as WorkspaceStore
from tests.store.jobs.store_factories import change_raw, claim_one, create

DAY_MS = 24 * 3600 * 1000


@pytest.fixture(scope="module")
def database_uri(tmp_path_factory):
    uri = f"sqlite:///{tmp_path_factory.mktemp('gc')}/mlflow.db"
    workspaces = WorkspaceStore(uri)
    for name in ("ours", "theirs"):
        workspaces.create_workspace(Workspace(name=name))
    return uri


@pytest.fixture
def store(database_uri, monkeypatch):
    # The command sets this variable, and an earlier test's must not decide here.
    monkeypatch.setenv(MLFLOW_ENABLE_WORKSPACES.name, "false")
    store = SqlAlchemyJobStore(database_uri)
    with store.engine.begin() as connection:
        connection.execute(tables.jobs.delete())
    return store


@pytest.fixture
def gc(store, tmp_path):
    """Runs the command; answers what it printed."""

    def run(*options):
        arguments = ["gc", "--backend-store-uri", store.db_uri, "--tracking-uri", store.db_uri]
        arguments += ["--artifacts-destination", str(tmp_path), *options]
        done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return run


def ended(store, age_ms=0, **creation):
    claimed = claim_one(store, **creation)
    store.succeed(claimed.claim, json.dumps("result"))
    change_raw(store, claimed.claim.job_id, creation_time=store.now_ms() - age_ms)
    return claimed.claim.job_id


def left(store):
    return {job.job_id for job in store.list_jobs()}


def test_without_being_asked_no_job_is_deleted(store, gc):
    job_id = ended(store)

    gc()

    assert left(store) == {job_id}


def test_all_finished_jobs_are_deleted_and_named_and_no_other(store, gc):
    finished = {ended(store), ended(store)}
    running, waiting = claim_one(store).claim.job_id, create(store).job_id

    printed = gc("--jobs")

    assert left(store) == {running, waiting}
    assert all(f"Job with ID {job_id}" in printed for job_id in finished)
    assert running not in printed


def test_only_jobs_of_these_ids_are_deleted(store, gc):
    first, second, third = (ended(store) for _ in range(3))
    running = claim_one(store).claim.job_id

    gc("--job-ids", f"{first},{third},{running},unknown")

    assert left(store) == {second, running}


@pytest.mark.parametrize("options", [("--job-ids", ""), ("--jobs", "--job-ids", "")])
def test_an_empty_list_of_ids_deletes_nothing(store, gc, options):
    job_id = ended(store)

    gc(*options)

    assert left(store) == {job_id}


def test_only_jobs_older_than_asked_are_deleted(store, gc):
    old, young = ended(store, age_ms=8 * DAY_MS), ended(store, age_ms=6 * DAY_MS)

    gc("--jobs", "--older-than", "7d")

    assert left(store) == {young}
    assert old not in left(store)


def test_age_and_ids_have_to_match_both(store, gc):
    old, other_old, young = (ended(store, age_ms=days * DAY_MS) for days in (8, 8, 1))

    gc("--job-ids", f"{old},{young}", "--older-than", "7d")

    assert left(store) == {other_old, young}


@pytest.mark.parametrize(
    ("options", "deleted"),
    [
        (["--workspace", "ours"], {"ours"}),
        (["--all-workspaces"], {"default", "ours", "theirs"}),
        (["--workspace", "theirs"], {"theirs"}),
    ],
)
def test_jobs_of_the_chosen_workspaces_are_deleted(store, gc, options, deleted):
    jobs = {name: ended(store, workspace=name) for name in ("default", "ours", "theirs")}

    gc("--jobs", *options)

    assert left(store) == {job_id for name, job_id in jobs.items() if name not in deleted}


def test_ids_of_another_workspace_are_not_deleted(store, gc):
    jobs = {name: ended(store, workspace=name) for name in ("ours", "theirs")}

    gc("--workspace", "ours", "--job-ids", ",".join(jobs.values()))

    assert left(store) == {jobs["theirs"]}
