"""Discovered jobs of a remote backend are granted what they need, and no scorer stops others."""

import json
import logging

import pytest

from mlflow.genai import make_judge, scorer
from mlflow.genai.scorers import RequiredResource
from mlflow.genai.scorers.job import ONLINE_SESSION_SCORER_JOB_NAME, ONLINE_TRACE_SCORER_JOB_NAME
from mlflow.server.jobs.discovery.online_scoring import OnlineScoringDiscovery
from mlflow.server.jobs.executor_registry import JobExecutorRegistry
from mlflow.server.jobs.remote.online_grants import OnlineGrants
from mlflow.server.jobs.router import JobRouter
from mlflow.server.jobs.settings import JobSettings
from tests.server.jobs.fakes import RemoteExecutor, ScriptedExecutor

BUFFER_MS = 300_000
LEVELS = {
    "trace": "Is {{ outputs }} polite?",
    "session": "Did the {{ conversation }} end well?",
}
UNREADABLE = {"required_resources": "all of them"}


@scorer(required_resources=(RequiredResource("prompt", "grading"),))
def declaring(outputs):
    return bool(outputs)


@scorer
def undeclared(outputs):
    import openai

    return bool(openai)


@pytest.fixture
def term(job_store):
    return job_store.acquire_scheduler_lease("scheduler", "me", ttl_seconds=86_400)


@pytest.fixture
def due(job_store, add_trace):
    """A trace that is old enough to be scored."""
    session = {"mlflow.trace.session": "s1"}
    return add_trace(job_store.now_ms() - BUFFER_MS - 1000, "t1", trace_metadata=session)


@pytest.fixture
def schedule(tracking_store, experiment_id):
    def schedule(name, serialized=None, level="trace", **more):
        if serialized is None:
            judge = make_judge(name=name, instructions=LEVELS[level], model="gateway:/endpoint")
            serialized = judge.model_dump()
        text = json.dumps({**serialized, "name": name, **more})
        tracking_store.register_scorer(experiment_id, name, text)
        tracking_store.upsert_online_scoring_config(experiment_id, name, 1.0)

    return schedule


@pytest.fixture
def discover(tracking_store, job_store, term):
    def discover(backends=None, **settings):
        registry = JobExecutorRegistry()
        for name, executor in (backends or {"local": RemoteExecutor()}).items():
            registry.register(name, executor)
        settings = JobSettings(**settings)
        router = JobRouter(settings, registry)
        discovery = OnlineScoringDiscovery(
            tracking_store,
            job_store,
            settings,
            router,
            OnlineGrants(router, registry),
            trace_buffer_seconds=BUFFER_MS / 1000,
            session_buffer_seconds=BUFFER_MS / 1000,
        )
        return lambda: discovery.run(term)

    return discover


@pytest.fixture
def allow_custom_scorers(monkeypatch):
    """As an operator who runs them in the online job's own process."""
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS", "true")


def created(job_store, job_name=ONLINE_TRACE_SCORER_JOB_NAME):
    [job] = job_store.list_jobs(job_name=job_name)
    grant = job.scoped_permissions and [
        (p.resource_type, p.resource_identifier, p.permission) for p in job.scoped_permissions
    ]
    return job.executor_backend, names_in(job), grant


def names_in(job):
    return sorted(entry["name"] for entry in json.loads(job.params)["online_scorers"])


def warnings_of(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("level", "job_name"),
    [("trace", ONLINE_TRACE_SCORER_JOB_NAME), ("session", ONLINE_SESSION_SCORER_JOB_NAME)],
)
def test_a_discovered_job_is_granted_what_its_scorers_need(
    discover, job_store, experiment_id, schedule, due, level, job_name
):
    schedule("polite", level=level)
    discover()()
    assert created(job_store, job_name) == (
        "local",
        ["polite"],
        [("experiment", experiment_id, "EDIT"), ("gateway_endpoint", "endpoint", "USE")],
    )


def test_a_discovered_job_beside_the_server_gets_no_grant_and_leaves_nothing_out(
    discover, job_store, schedule, due
):
    schedule("polite")
    schedule("odd", **UNREADABLE)
    discover({"local": ScriptedExecutor()})()
    assert created(job_store) == ("local", ["odd", "polite"], None)


@pytest.mark.parametrize(
    ("level", "job_name"),
    [("trace", ONLINE_TRACE_SCORER_JOB_NAME), ("session", ONLINE_SESSION_SCORER_JOB_NAME)],
)
def test_a_scorer_that_cannot_be_granted_is_left_out_with_one_line(
    discover, job_store, schedule, due, caplog, level, job_name
):
    schedule("polite", level=level)
    schedule("odd", level=level, **UNREADABLE)
    look = discover()
    with caplog.at_level(logging.WARNING, logger="mlflow.server.jobs"):
        look()
        job_store.cancel_job(next(job_store.list_jobs(job_name=job_name)).job_id)
        look()
    jobs = list(job_store.list_jobs(job_name=job_name))
    assert [names_in(job) for job in jobs] == [["polite"], ["polite"]]
    [warning] = warnings_of(caplog)
    assert "'odd'" in warning
    assert "required_resources must be a list" in warning


def test_no_checkpoint_passes_traces_whose_only_scorer_was_left_out(
    discover, job_store, schedule, due, tracking_store, experiment_id
):
    schedule("odd", **UNREADABLE)
    look = discover()
    look()
    assert list(job_store.list_jobs()) == []

    schedule("odd")
    look()
    _, names, _ = created(job_store)
    [job] = job_store.list_jobs()
    assert names == ["odd"]
    assert [entry["trace_id"] for entry in json.loads(job.params)["batch"]] == [due]


def test_without_the_custom_scorers_left_out_a_job_stays_on_the_usual_backend(
    discover, allow_custom_scorers, job_store, schedule, due, caplog
):
    schedule("polite")
    schedule_custom(schedule, undeclared)
    backends = {"local": ScriptedExecutor(), "boxed": RemoteExecutor()}
    discover(backends, custom_scorer_backend="boxed", custom_scorers_enabled=True)()
    assert created(job_store) == ("local", ["polite"], None)
    assert any("'undeclared' imports openai" in line for line in warnings_of(caplog))


def test_a_discovered_job_may_do_what_its_custom_scorers_declare(
    discover, allow_custom_scorers, job_store, experiment_id, schedule, due, caplog
):
    schedule("polite")
    schedule_custom(schedule, declaring)
    schedule_custom(schedule, undeclared)
    discover(custom_scorers_enabled=True)()
    assert created(job_store) == (
        "local",
        ["declaring", "polite"],
        [
            ("experiment", experiment_id, "EDIT"),
            ("gateway_endpoint", "endpoint", "USE"),
            ("prompt", "grading", "READ"),
        ],
    )
    assert any("'undeclared' imports openai" in line for line in warnings_of(caplog))


def schedule_custom(schedule, custom):
    schedule(custom.name, custom.model_dump())
