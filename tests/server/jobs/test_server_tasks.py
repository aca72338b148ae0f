"""What a server does periodically, and on which store."""

import pytest
import sqlalchemy

from mlflow.exceptions import MlflowException
from mlflow.server.jobs.discovery.levels import CHECKPOINT_TAGS
from mlflow.server.jobs.periodic_store import initialize_periodic_tasks_tracking_store
from mlflow.server.jobs.server_tasks import server_tasks
from mlflow.store.jobs import tables
from tests.store.jobs.store_factories import insert_raw


@pytest.fixture
def tasks(job_store):
    return {task.name: task for task in server_tasks(job_store, 3600.0, lambda term: None)}


def test_rollups_are_no_task_while_they_are_off(tasks):
    assert set(tasks) == {"online-scoring", "trace-archival", "issue-detection", "job-retention"}


@pytest.mark.parametrize(
    ("name", "minutes"), [("online-scoring", 1), ("trace-archival", 1), ("issue-detection", 15)]
)
def test_tasks_are_due_at_aligned_instants(tasks, name, minutes):
    interval_ms = minutes * 60_000
    assert tasks[name].schedule.latest_ms(10 * interval_ms + 5) == 10 * interval_ms


def test_retention_deletes_what_is_past_its_time(job_store, claim_one, tasks, term):
    job = claim_one()
    job_store.succeed(job.claim, "1")
    assert not tasks["job-retention"].has_work()
    tasks["job-retention"].run(term)
    assert len([*job_store.list_jobs()]) == 1
    job_store.clock_offset_ms += 3_601_000
    assert tasks["job-retention"].has_work()
    tasks["job-retention"].run(term)
    assert [*job_store.list_jobs()] == []


def test_the_periodic_store_is_the_backend_store_and_never_the_server(
    database_uri, monkeypatch, tmp_path
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:1")
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", database_uri)
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", str(tmp_path))
    assert initialize_periodic_tasks_tracking_store().db_uri == database_uri


def test_without_a_backend_store_periodic_tasks_say_what_is_missing(monkeypatch):
    monkeypatch.delenv("MLFLOW_BACKEND_STORE_URI", raising=False)
    with pytest.raises(MlflowException, match="MLFLOW_BACKEND_STORE_URI"):
        initialize_periodic_tasks_tracking_store()


def test_without_standing_orders_no_task_walks_through_the_workspaces(tasks):
    assert not tasks["online-scoring"].has_work()
    assert not tasks["issue-detection"].has_work()
    assert not tasks["trace-archival"].has_work()
    assert not tasks["job-retention"].has_work()


def test_a_schedule_in_any_workspace_is_work_for_issue_detection(job_store, tasks):
    add_experiment(job_store, 7, "team-7")
    insert_raw(
        job_store,
        tables.experiment_tags,
        key="mlflow.issueDetection.schedule",
        experiment_id=7,
        value="{}",
    )
    assert tasks["issue-detection"].has_work()
    assert not tasks["online-scoring"].has_work()


def test_a_scorer_that_is_on_in_any_workspace_is_work_for_online_scoring(job_store, tasks):
    add_experiment(job_store, 7, "team-7")
    add_scorer(job_store, 7, 0.0)
    assert not tasks["online-scoring"].has_work()
    add_experiment(job_store, 8, "team-8")
    add_scorer(job_store, 8, 0.5)
    assert tasks["online-scoring"].has_work()


def test_a_checkpoint_that_nobody_needs_is_work_for_online_scoring_until_it_is_forgotten(
    job_store, tasks, term
):
    add_experiment(job_store, 7, "team-7")
    insert_raw(
        job_store,
        tables.experiment_tags,
        key=CHECKPOINT_TAGS[0],
        experiment_id=7,
        value="{}",
    )
    assert tasks["online-scoring"].has_work()
    assert job_store.forget_unscored_checkpoints(CHECKPOINT_TAGS, term) == 1
    assert not tasks["online-scoring"].has_work()


def add_experiment(job_store, number: int, workspace: str) -> None:
    with job_store.engine.begin() as connection:
        connection.execute(
            sqlalchemy.text(
                "INSERT INTO experiments (experiment_id, name, workspace, lifecycle_stage) "
                "VALUES (:number, :name, :workspace, 'active')"
            ),
            {"number": number, "name": f"experiment {number}", "workspace": workspace},
        )


def add_scorer(job_store, experiment: int, sample_rate: float) -> None:
    with job_store.engine.begin() as connection:
        connection.execute(
            sqlalchemy.text(
                "INSERT INTO scorers (scorer_id, experiment_id, scorer_name) "
                "VALUES (:id, :experiment, 'judge')"
            ),
            {"id": f"scorer-{experiment}", "experiment": experiment},
        )
        connection.execute(
            sqlalchemy.text(
                "INSERT INTO online_scoring_configs "
                "(online_scoring_config_id, scorer_id, sample_rate, experiment_id) "
                "VALUES (:id, :scorer, :rate, :experiment)"
            ),
            {
                "id": f"config-{experiment}",
                "scorer": f"scorer-{experiment}",
                "rate": sample_rate,
                "experiment": experiment,
            },
        )
