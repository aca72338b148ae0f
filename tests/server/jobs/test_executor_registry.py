"""A backend name is a configured instance; what is configured works or is refused by its name."""

import shutil
import sys
from pathlib import Path

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.exceptions import MlflowException
from mlflow.server.jobs import executor_registry
from mlflow.server.jobs.errors import BackendUnusable, InvalidSetting, UnknownBackend
from mlflow.server.jobs.executor import JobExecutionContext, JobExecutorConfig
from mlflow.server.jobs.executor_registry import (
    JobExecutorRegistry,
    get_executor_registry,
    shutdown_executor_registry,
    validate_executor_config,
    warm_executor_registry_in_background,
)
from mlflow.server.jobs.local_executor import LocalJobExecutor

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PLUGIN_318 = Path(__file__).parents[2] / "fixtures" / "job_plugin_318"

_MORE_PLUGINS = """
from mlflow.server.jobs.executor import AbstractJobExecutor
from job_plugin_318.executor import ThreadJobExecutor

class Remote(ThreadJobExecutor):
    remote_execution = True

class Demanding(ThreadJobExecutor):
    def check_requirements(self):
        raise OSError("no license")

class Failing(ThreadJobExecutor):
    def __init__(self, config):
        raise ValueError("cannot be built")

class Unfinished(AbstractJobExecutor):
    pass

not_a_class = "text"
"""


@pytest.fixture(autouse=True)
def fresh_registry(monkeypatch):
    """No registry and no settings from elsewhere."""
    monkeypatch.delenv("MLFLOW_JOB_DEFAULT_EXECUTOR_BACKEND", raising=False)
    monkeypatch.delenv("MLFLOW_JOB_CUSTOM_SCORER_EXECUTOR_BACKEND", raising=False)
    shutdown_executor_registry()
    yield
    shutdown_executor_registry()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a distribution with these entry points."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def install(name, entry_points):
        dist_info = site / f"{name}-1.0.dist-info"
        dist_info.mkdir()
        (dist_info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        for module in [m for m in sys.modules if m.startswith(("job_plugin_318", "more_plugins"))]:
            del sys.modules[module]
        lines = ["[mlflow.job_executors]", *(f"{k} = {v}" for k, v in entry_points.items())]
        (dist_info / "entry_points.txt").write_text("\n".join(lines))
        return site

    return install


@pytest.fixture
def plugin_318(install):
    """The plugin written for MLflow 3.18, installed as its own pyproject.toml says."""
    project = tomllib.loads((_PLUGIN_318 / "pyproject.toml").read_text())["project"]
    site = install("job_plugin_318", project["entry-points"]["mlflow.job_executors"])
    shutil.copytree(_PLUGIN_318 / "src", site, dirs_exist_ok=True)


@pytest.fixture
def more_plugins(plugin_318, install):
    """Plugins with something wrong, and one that is remote."""
    classes = ["Remote", "Demanding", "Failing", "Unfinished", "not_a_class", "missing"]
    site = install("more", {name.lower(): f"more_plugins:{name}" for name in classes})
    (site / "more_plugins.py").write_text(_MORE_PLUGINS)


def test_a_server_without_settings_has_the_local_backend_alone():
    registry = get_executor_registry()
    assert registry.get_registered_names() == ["local"]
    assert isinstance(registry.get("local"), LocalJobExecutor)
    assert get_executor_registry() is registry


def test_executors_get_the_settings(monkeypatch):
    monkeypatch.setenv("MLFLOW_SERVER_JOB_LEASE_TTL", "2.5")
    monkeypatch.setenv("MLFLOW_SERVER_JOB_DEFAULT_TIMEOUT", "7")
    monkeypatch.setenv("MLFLOW_SERVER_JOB_COMPLETED_TTL", "100")
    monkeypatch.setenv("MLFLOW_SERVER_JOB_FORK_SERVER", "false")
    assert get_executor_registry().get("local").config == JobExecutorConfig(
        retry_base_delay=15.0,
        retry_max_delay=60.0,
        max_retries=3,
        default_timeout=7.0,
        job_lease_ttl=2.5,
        completed_job_ttl=100.0,
        fork_server=False,
    )


@pytest.mark.usefixtures("plugin_318")
def test_a_plugin_written_for_3_18_runs_unchanged(monkeypatch):
    monkeypatch.setenv("MLFLOW_JOB_DEFAULT_EXECUTOR_BACKEND", "threads")
    executor = get_executor_registry().get("threads")
    executor.start_executor()

    multiplied = _run(executor, "multiply", {"x": 21})
    unreachable = _run(executor, "unreachable", {})

    assert executor.started
    assert (multiplied.status, multiplied.result) == (JobStatus.SUCCEEDED, '{"product": 42}')
    assert (unreachable.status, unreachable.is_transient_error) == (JobStatus.FAILED, True)
    assert [result.action for result in executor.recover_jobs(["j1"])] == ["requeue"]
    assert not executor.remote_execution
    assert not executor.accepts_extra_envs
    assert executor.supports_job("any", {})
    executor.stop_executor()


@pytest.mark.usefixtures("plugin_318")
def test_each_configured_name_is_an_instance_of_its_own(monkeypatch):
    monkeypatch.setenv("MLFLOW_JOB_DEFAULT_EXECUTOR_BACKEND", "threads")
    monkeypatch.setenv("MLFLOW_JOB_CUSTOM_SCORER_EXECUTOR_BACKEND", "threads:gpu-pool")
    registry = get_executor_registry()
    assert registry.get_registered_names() == ["threads", "threads:gpu-pool"]
    assert type(registry.get("threads")) is type(registry.get("threads:gpu-pool"))
    assert registry.get("threads") is not registry.get("threads:gpu-pool")


@pytest.mark.usefixtures("more_plugins")
@pytest.mark.parametrize(
    ("backend", "error", "words"),
    [
        ("nowhere", UnknownBackend, "no plugin of this name"),
        ("nowhere:gpu", UnknownBackend, "nowhere:gpu"),
        ("threads:", UnknownBackend, "TYPE:INSTANCE"),
        ("remote", BackendUnusable, "MLFLOW_JOB_TRACKING_URI"),
        ("demanding", BackendUnusable, "no license"),
        ("failing", UnknownBackend, "cannot be built"),
        ("unfinished", UnknownBackend, "abstract"),
        ("not_a_class", UnknownBackend, "not a subclass"),
        ("missing", UnknownBackend, "missing"),
    ],
)
def test_a_configured_backend_that_cannot_serve_stops_the_server_by_its_name(
    monkeypatch, backend, error, words
):
    monkeypatch.setenv("MLFLOW_JOB_DEFAULT_EXECUTOR_BACKEND", backend)
    with pytest.raises(error, match=backend) as refusal:
        validate_executor_config()
    assert words in refusal.value.message


@pytest.mark.usefixtures("more_plugins")
def test_a_remote_backend_serves_once_its_jobs_are_told_where_the_server_is(monkeypatch):
    monkeypatch.setenv("MLFLOW_JOB_DEFAULT_EXECUTOR_BACKEND", "remote")
    monkeypatch.setenv("MLFLOW_JOB_TRACKING_URI", "http://tracking.example:5000")
    validate_executor_config()


@pytest.mark.usefixtures("more_plugins")
def test_a_custom_scorer_backend_is_checked_as_the_default_one_is(monkeypatch):
    monkeypatch.setenv("MLFLOW_JOB_CUSTOM_SCORER_EXECUTOR_BACKEND", "remote")
    with pytest.raises(BackendUnusable, match="remote"):
        validate_executor_config()


@pytest.mark.usefixtures("more_plugins")
@pytest.mark.filterwarnings("error")
def test_broken_plugins_that_nobody_configured_harm_nobody():
    validate_executor_config()
    assert "more_plugins" not in sys.modules


def test_a_bad_setting_stops_the_server(monkeypatch):
    monkeypatch.setenv("MLFLOW_SERVER_JOB_LEASE_TTL", "0.1")
    with pytest.raises(InvalidSetting, match="MLFLOW_SERVER_JOB_LEASE_TTL"):
        validate_executor_config()


def test_a_type_that_two_plugins_claim_is_refused(install, plugin_318, monkeypatch):
    install("rival", {"threads": "job_plugin_318.executor:ThreadJobExecutor"})
    monkeypatch.setenv("MLFLOW_JOB_DEFAULT_EXECUTOR_BACKEND", "threads")
    with pytest.raises(UnknownBackend, match="several plugins"):
        validate_executor_config()


@pytest.mark.usefixtures("more_plugins")
def test_discovery_leaves_broken_plugins_out_with_a_warning():
    registry = JobExecutorRegistry()
    with pytest.warns(UserWarning, match="was left out") as warnings:
        registry.discover_and_register()
    assert registry.get_registered_names() == ["demanding", "remote", "threads"]
    assert len(warnings) == 4


@pytest.mark.usefixtures("plugin_318")
def test_a_backend_name_can_be_taken_once():
    registry = JobExecutorRegistry(JobExecutorConfig())
    registry.discover_and_register()
    with pytest.raises(MlflowException, match="threads"):
        registry.register("threads", LocalJobExecutor(registry.config))
    with pytest.raises(MlflowException, match="threads"):
        registry.discover_and_register()


def test_an_unknown_backend_is_refused_with_the_known_ones():
    with pytest.raises(UnknownBackend, match="local") as refusal:
        get_executor_registry().get("ray")
    assert refusal.value.backend == "ray"


@pytest.mark.usefixtures("more_plugins")
def test_a_failed_check_is_made_again_at_the_next_call(monkeypatch):
    monkeypatch.setenv("MLFLOW_JOB_DEFAULT_EXECUTOR_BACKEND", "demanding")
    with pytest.raises(BackendUnusable):
        get_executor_registry()
    monkeypatch.setenv("MLFLOW_JOB_DEFAULT_EXECUTOR_BACKEND", "threads")
    assert get_executor_registry().get_registered_names() == ["threads"]


def test_a_web_worker_builds_its_registry_before_it_is_needed(monkeypatch):
    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", "sqlite:///unused.db")
    warming = warm_executor_registry_in_background()
    warming.join()
    assert executor_registry._registry is not None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"),
        ("MLFLOW_SERVER_JOB_LEASE_TTL", "0.1"),
        ("_MLFLOW_SERVER_FILE_STORE", "./mlruns"),
    ],
)
def test_where_jobs_cannot_run_no_registry_is_built_ahead(monkeypatch, variable, value):
    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", "sqlite:///unused.db")
    monkeypatch.setenv(variable, value)
    assert warm_executor_registry_in_background() is None


def _run(executor, function, params):
    context = JobExecutionContext(job_id="j1", tracking_uri="sqlite:///unused.db")
    executor.submit_job(
        job_id="j1",
        job_name=f"plugin_{function}",
        fn_fullname=f"job_plugin_318.jobs.{function}",
        params=params,
        context=context,
        python_env=None,
        timeout=30.0,
    )
    return executor.wait_for_job("j1")
