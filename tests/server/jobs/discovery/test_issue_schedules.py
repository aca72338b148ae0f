"""I6: an occurrence of an issue-detection schedule is claimed and submitted by the leader, once."""

import json
import uuid

import pytest
import sqlalchemy

from mlflow.entities import ExperimentTag
from mlflow.server import handlers
from mlflow.server.jobs import executor_registry
from mlflow.server.jobs.discovery.issue_schedules import submit_due_detections
from mlflow.server.jobs.sealed_environment import open_sealed
from mlflow.store.jobs.errors import LeadershipLost
from tests.server.jobs.discovery.scenes import HOUR_MS

SCHEDULE, STATE = "mlflow.issueDetection.schedule", "mlflow.issueDetection.scheduleState"


@pytest.fixture(autouse=True)
def server(tracking_store, job_store, database_uri, monkeypatch):
    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", database_uri)
    monkeypatch.setenv("_MLFLOW_SERVER_BOOT_ID", uuid.uuid4().hex)
    monkeypatch.setattr(handlers, "_tracking_store", tracking_store)
    monkeypatch.setattr(handlers, "_job_store", job_store)
    monkeypatch.setattr(executor_registry, "_registry", None)


@pytest.fixture(autouse=True)
def hourly(tracking_store, experiment_id):
    timing = {"version": 1, "cadence": "hourly", "model": {"endpointName": "endpoint"}}
    tag = ExperimentTag(SCHEDULE, json.dumps(timing))
    tracking_store.set_experiment_tag(experiment_id, tag)


@pytest.fixture
def state(tracking_store, experiment_id):
    return lambda: tracking_store.get_experiment(experiment_id).tags.get(STATE)


def successor_of(job_store, term):
    job_store.release_scheduler_lease(term)
    return job_store.acquire_scheduler_lease(term.lease_key, "successor", ttl_seconds=86_400)


def submitted(job_store):
    return [job.job_name for job in job_store.list_jobs()]


def test_an_occurrence_that_has_come_due_is_submitted_once_whoever_leads(
    job_store, term, experiment_id
):
    for hours in (0, 1, 1, 1):
        job_store.clock_offset_ms = hours * HOUR_MS
        submit_due_detections(job_store, term)
        term = successor_of(job_store, term)

    (job,) = job_store.list_jobs()
    assert job.job_name == "scheduled_issue_detection"
    assert json.loads(job.params)["experiment_id"] == experiment_id


def test_a_leader_that_was_paused_past_its_term_claims_and_submits_nothing(job_store, term, state):
    submit_due_detections(job_store, term)
    before = state()
    job_store.clock_offset_ms = HOUR_MS
    successor = successor_of(job_store, term)

    with pytest.raises(LeadershipLost):
        submit_due_detections(job_store, term)

    assert (state(), submitted(job_store)) == (before, [])
    submit_due_detections(job_store, successor)
    assert submitted(job_store) == ["scheduled_issue_detection"]


def test_a_term_that_ends_behind_the_claim_submits_nothing(
    job_store, term, state, monkeypatch, caplog
):
    submit_due_detections(job_store, term)
    job_store.clock_offset_ms = HOUR_MS
    before, begin = state(), job_store.begin_checkpoint

    def claim_and_lose_the_term(*claim, **options):
        claimed = begin(*claim, **options)
        successor_of(job_store, term)
        return claimed

    monkeypatch.setattr(job_store, "begin_checkpoint", claim_and_lose_the_term)
    with pytest.raises(LeadershipLost):
        submit_due_detections(job_store, term)

    assert state() != before
    assert submitted(job_store) == []


def test_a_claim_takes_nothing_back_that_was_written_since_it_was_read(
    job_store, tracking_store, term, state, experiment_id, monkeypatch
):
    submit_due_detections(job_store, term)
    job_store.clock_offset_ms = HOUR_MS
    begin, saved = job_store.begin_checkpoint, json.dumps({"version": 1, "lastFireTimeMs": 1})

    def save_and_claim(*claim, **options):
        tracking_store.set_experiment_tag(experiment_id, ExperimentTag(STATE, saved))
        return begin(*claim, **options)

    monkeypatch.setattr(job_store, "begin_checkpoint", save_and_claim)
    submit_due_detections(job_store, term)

    assert (state(), submitted(job_store)) == (saved, [])


def test_an_occurrence_carries_the_key_that_its_owner_chose_and_carries_it_sealed(
    job_store, tracking_store, experiment_id, term
):
    secret = tracking_store.create_gateway_secret("mine", {"api_key": "sk-1"}, provider="openai")
    model = {"provider": "openai", "model": "gpt", "secretId": secret.secret_id}
    schedule = {"version": 1, "cadence": "hourly", "model": model}
    tag = ExperimentTag(SCHEDULE, json.dumps(schedule))
    tracking_store.set_experiment_tag(experiment_id, tag)

    for hours in (0, 1):
        job_store.clock_offset_ms = hours * HOUR_MS
        submit_due_detections(job_store, term)

    with job_store.engine.connect() as connection:
        query = sqlalchemy.text("SELECT id, params, sealed_environment FROM jobs")
        (job,) = connection.execute(query)
    assert "sk-1" not in f"{job.params} {job.sealed_environment}"
    assert open_sealed(job.id, job.sealed_environment)["OPENAI_API_KEY"] == "sk-1"


def test_a_schedule_that_cannot_be_dispatched_stops_no_other(
    job_store, tracking_store, term, caplog
):
    for name, schedule in [("bad", "{"), ("due", json.dumps({"version": 1, "cadence": "hourly"}))]:
        tag = ExperimentTag(SCHEDULE, schedule)
        tracking_store.set_experiment_tag(tracking_store.create_experiment(name), tag)

    for hours in (0, 1):
        job_store.clock_offset_ms = hours * HOUR_MS
        submit_due_detections(job_store, term)

    assert submitted(job_store) == ["scheduled_issue_detection"] * 2
