"""Settings are read once, and a bad one is refused by its name."""

import pytest

from mlflow.server.jobs.errors import InvalidSetting
from mlflow.server.jobs.settings import JobSettings, deprecated_notices


def test_an_empty_environment_gives_the_defaults():
    settings = JobSettings.from_env({})

    assert settings == JobSettings()
    assert settings.enabled
    assert settings.scheduler_enabled
    assert settings.job_lease_ttl == 60.0
    assert settings.max_retries == 3
    assert (settings.retry_base_delay, settings.retry_max_delay) == (15.0, 60.0)
    assert settings.default_timeout == 3600.0
    assert settings.completed_job_ttl is None
    assert settings.drain_grace == 10.0
    assert settings.scheduler_lease_ttl == 15.0
    assert settings.poll_interval is None
    assert settings.fork_server
    assert settings.backends == ["local"]


@pytest.mark.parametrize(
    ("variable", "value", "attribute", "expected"),
    [
        ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false", "enabled", False),
        ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "TRUE", "enabled", True),
        ("MLFLOW_DISABLE_SCHEDULER", "1", "scheduler_enabled", False),
        ("MLFLOW_SERVER_JOB_ENABLE_PERIODIC_TASKS", "false", "scheduler_enabled", False),
        ("MLFLOW_JOB_DEFAULT_EXECUTOR_BACKEND", "ray:gpu-pool", "default_backend", "ray:gpu-pool"),
        ("MLFLOW_JOB_DEFAULT_EXECUTOR_BACKEND", "", "default_backend", "local"),
        ("MLFLOW_JOB_CUSTOM_SCORER_EXECUTOR_BACKEND", "docker", "custom_scorer_backend", "docker"),
        ("MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS", "true", "custom_scorers_enabled", True),
        ("MLFLOW_SERVER_JOB_LEASE_TTL", "0.6", "job_lease_ttl", 0.6),
        ("MLFLOW_SERVER_JOB_TRANSIENT_ERROR_MAX_RETRIES", "0", "max_retries", 0),
        ("MLFLOW_SERVER_JOB_TRANSIENT_ERROR_RETRY_BASE_DELAY", "0", "retry_base_delay", 0.0),
        ("MLFLOW_SERVER_JOB_TRANSIENT_ERROR_RETRY_MAX_DELAY", "2.5", "retry_max_delay", 2.5),
        ("MLFLOW_SERVER_JOB_DEFAULT_TIMEOUT", "7200", "default_timeout", 7200.0),
        ("MLFLOW_SERVER_JOB_COMPLETED_TTL", "86400", "completed_job_ttl", 86400.0),
        ("MLFLOW_SERVER_JOB_DRAIN_GRACE", "0", "drain_grace", 0.0),
        ("MLFLOW_SERVER_SCHEDULER_LEASE_TTL", "3", "scheduler_lease_ttl", 3.0),
        ("MLFLOW_SERVER_JOB_POLL_INTERVAL", "0.5", "poll_interval", 0.5),
        ("MLFLOW_SERVER_JOB_FORK_SERVER", "false", "fork_server", False),
        ("MLFLOW_JOB_TRACKING_URI", "https://t:1/m/", "remote_tracking_uri", "https://t:1/m"),
        ("MLFLOW_JOB_GATEWAY_URI", "http://gateway", "remote_gateway_uri", "http://gateway"),
    ],
)
def test_a_variable_sets_its_setting(variable, value, attribute, expected):
    assert getattr(JobSettings.from_env({variable: value}), attribute) == expected


@pytest.mark.parametrize(
    ("job_lease", "set_to", "scheduler_lease", "noticed"),
    [
        ("0.6", None, 1.0, False),
        ("5", None, 5.0, False),
        ("60", None, 15.0, False),
        ("5", "3", 3.0, False),
        ("0.6", "1", 1.0, False),
        ("5", "15", 15.0, True),
    ],
)
def test_a_leader_is_replaced_within_a_job_lease_unless_it_is_told_otherwise(
    job_lease, set_to, scheduler_lease, noticed
):
    env = {"MLFLOW_SERVER_JOB_LEASE_TTL": job_lease}
    if set_to is not None:
        env["MLFLOW_SERVER_SCHEDULER_LEASE_TTL"] = set_to

    settings = JobSettings.from_env(env)

    assert settings.scheduler_lease_ttl == scheduler_lease
    assert any("MLFLOW_SERVER_SCHEDULER_LEASE_TTL (15 s)" in each for each in settings.notices) is (
        noticed
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "maybe"),
        ("MLFLOW_DISABLE_SCHEDULER", "2"),
        ("MLFLOW_SERVER_JOB_LEASE_TTL", "0.5"),
        ("MLFLOW_SERVER_JOB_LEASE_TTL", "inf"),
        ("MLFLOW_SERVER_JOB_LEASE_TTL", "nan"),
        ("MLFLOW_SERVER_JOB_LEASE_TTL", "a minute"),
        ("MLFLOW_SERVER_JOB_TRANSIENT_ERROR_MAX_RETRIES", "-1"),
        ("MLFLOW_SERVER_JOB_TRANSIENT_ERROR_MAX_RETRIES", "1.5"),
        ("MLFLOW_SERVER_JOB_TRANSIENT_ERROR_RETRY_BASE_DELAY", "-1"),
        ("MLFLOW_SERVER_JOB_TRANSIENT_ERROR_RETRY_MAX_DELAY", "inf"),
        ("MLFLOW_SERVER_JOB_DEFAULT_TIMEOUT", "0"),
        ("MLFLOW_SERVER_JOB_COMPLETED_TTL", "0"),
        ("MLFLOW_SERVER_JOB_DRAIN_GRACE", "-0.1"),
        ("MLFLOW_SERVER_SCHEDULER_LEASE_TTL", "0.9"),
        ("MLFLOW_SERVER_JOB_POLL_INTERVAL", "0"),
        ("MLFLOW_JOB_TRACKING_URI", "sqlite:///mlflow.db"),
        ("MLFLOW_JOB_TRACKING_URI", "tracking:5000"),
        ("MLFLOW_JOB_TRACKING_URI", "http://"),
        ("MLFLOW_JOB_GATEWAY_URI", "http://gateway?key=1"),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_variable(variable, value):
    with pytest.raises(InvalidSetting, match=variable) as refusal:
        JobSettings.from_env({variable: value})
    assert repr(value) in refusal.value.message


def test_a_custom_scorer_backend_that_is_the_default_one_is_not_a_second_backend():
    settings = JobSettings(default_backend="docker", custom_scorer_backend="docker")
    assert settings.backends == ["docker"]
    settings = JobSettings(default_backend="local", custom_scorer_backend="docker")
    assert settings.backends == ["local", "docker"]


@pytest.mark.parametrize("engine", ["huey", "executor", "anything", ""])
def test_any_execution_engine_is_accepted_and_said_to_do_nothing(engine):
    env = {"MLFLOW_SERVER_JOB_EXECUTION_ENGINE": engine}

    assert JobSettings.from_env(env) == JobSettings()
    [notice] = deprecated_notices(env)
    assert notice.startswith("MLFLOW_SERVER_JOB_EXECUTION_ENGINE ")


def test_only_variables_that_are_set_are_said_to_do_nothing():
    assert deprecated_notices({"MLFLOW_SERVER_JOB_LEASE_TTL": "60"}) == []
    notices = deprecated_notices(
        {
            "MLFLOW_SERVER_JOB_HUEY_REDIS_URL": "redis://user:secret@host",
            "MLFLOW_SERVER_JOB_FLUSH_PERIODIC_LOCKS_ON_STARTUP": "true",
        }
    )
    assert len(notices) == 2
    assert "secret" not in "".join(notices)


def test_credentials_in_an_address_are_refused_and_not_repeated():
    with pytest.raises(InvalidSetting, match="without credentials") as refusal:
        JobSettings.from_env({"MLFLOW_JOB_TRACKING_URI": "http://ann:s3cret@tracking"})
    assert "s3cret" not in refusal.value.message
