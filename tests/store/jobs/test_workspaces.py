"""Jobs of a workspace that is moved or deleted: they run on, and their locks are given back."""

import pytest
from click.testing import CliRunner

from mlflow.cli import cli
from mlflow.entities.workspace import Workspace, WorkspaceDeletionMode
from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.store.jobs.values import JobUpdateStatus
from mlflow.store.workspace.sqlalchemy_store import SqlAlchemyStore as WorkspaceStore
from tests.store.jobs.store_factories import (
    LEASE_SECONDS,
    claim,
    claim_one,
    create,
    lead,
    locks_of,
)

# As computed while the job was in that workspace; 3.18 rewrites no key either.
KEY = "ours:job:0123456789abcdef"


@pytest.fixture
def workspaces(store):
    """A workspace of ours and one of theirs, beside the default one."""
    workspaces = WorkspaceStore(store.db_uri)
    for name in ("ours", "theirs"):
        workspaces.create_workspace(Workspace(name=name))
    yield workspaces
    store.delete_jobs()
    for name in {each.name for each in workspaces.list_workspaces()} - {"default"}:
        workspaces.delete_workspace(name, WorkspaceDeletionMode.CASCADE)
    workspaces._engine.dispose()


def move_to_theirs(store, workspaces):
    arguments = ["db", "move-resources", store.db_uri, "--from", "ours", "--to", "theirs"]
    done = CliRunner().invoke(
        cli, [*arguments, "--resource-type", "jobs", "--yes"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return "theirs"


def delete_into_default(store, workspaces):
    workspaces.delete_workspace("ours", WorkspaceDeletionMode.SET_DEFAULT)
    return "default"


@pytest.mark.parametrize("change", [move_to_theirs, delete_into_default])
def test_jobs_go_with_their_workspace_and_run_to_their_end(store, workspaces, monkeypatch, change):
    monkeypatch.setenv(MLFLOW_ENABLE_WORKSPACES.name, "true")
    store.succeed(claim_one(store, workspace="ours", lock_key=KEY).claim, "1")
    running = claim_one(store, workspace="ours", lock_key=KEY).claim
    waiting = create(store, workspace="ours", lock_key="ours:job:another").job_id

    workspace = change(store, workspaces)

    assert {job.workspace for job in store.list_jobs()} == {workspace}
    assert store.renew([running], LEASE_SECONDS) == set()
    assert store.succeed(running, "1") is JobUpdateStatus.APPLIED
    assert locks_of(store) == {}
    (claimed,) = claim(store).claimed
    assert (claimed.claim.job_id, claimed.workspace) == (waiting, workspace)


def test_a_lock_key_of_the_old_name_excludes_until_its_job_has_ended(
    store, workspaces, monkeypatch
):
    """What is still called by the old name can only refuse too much, never let two run at once."""
    monkeypatch.setenv(MLFLOW_ENABLE_WORKSPACES.name, "true")
    moved = claim_one(store, workspace="ours", lock_key=KEY).claim
    move_to_theirs(store, workspaces)

    submitted = create(store, workspace="ours", lock_key=KEY)
    assert claim(store).canceled == [submitted.job_id]
    store.succeed(moved, "1")
    create(store, workspace="ours", lock_key=KEY)
    assert len(claim(store).claimed) == 1


def test_a_job_that_is_deleted_with_its_workspace_is_lost_to_its_owner(
    store, workspaces, monkeypatch
):
    monkeypatch.setenv(MLFLOW_ENABLE_WORKSPACES.name, "true")
    running = claim_one(store, workspace="ours", lock_key=KEY).claim

    workspaces.delete_workspace("ours", WorkspaceDeletionMode.CASCADE)

    assert store.not_running([running]) == {running: None}
    assert store.renew([running], LEASE_SECONDS) == {running}
    assert store.succeed(running, "1") is JobUpdateStatus.CLAIM_LOST
    assert store.sweep(lead(store)) == 0
    create(store, lock_key=KEY)
    assert len(claim(store).claimed) == 1
