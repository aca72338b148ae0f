"""A job finds what it needs in its environment, and no secret that is not its own."""

import pytest

from mlflow.server.jobs.executor import JobExecutionContext
from mlflow.server.jobs.local.job_environment import (
    base_environment,
    fork_server_environment,
    job_environment,
    unlike_when_imported,
)

_SIGNING_KEY = "_MLFLOW_ASSISTANT_DELEGATION_SIGNING_KEY"
_GATEWAY_TOKEN = "_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN"


def _environment(base=None, protocol=None, **context):
    context = JobExecutionContext(**{"job_id": "j1", "tracking_uri": "sqlite:///db", **context})
    return job_environment(base or {}, "a_job", context, protocol or {})


def test_a_job_knows_who_and_where_it_is():
    env = _environment(
        {"PATH": "/bin", "MLFLOW_TRACKING_URI": "http://server"},
        {"_MLFLOW_SERVER_JOB_RESULT_DUMP_PATH": "/tmp/r"},
        gateway_uri="http://gateway",
        workspace="team",
        fence=7,
    )
    assert env == {
        "PATH": "/bin",
        "MLFLOW_TRACKING_URI": "sqlite:///db",
        "MLFLOW_GATEWAY_URI": "http://gateway",
        "MLFLOW_WORKSPACE": "team",
        "_MLFLOW_SERVER_JOB_ID": "j1",
        "_MLFLOW_SERVER_JOB_NAME": "a_job",
        "_MLFLOW_SERVER_JOB_FENCE": "7",
        "_MLFLOW_SERVER_JOB_RESULT_DUMP_PATH": "/tmp/r",
    }


def test_the_runners_own_workspace_and_fence_do_not_reach_a_job():
    env = _environment({"MLFLOW_WORKSPACE": "other", "_MLFLOW_SERVER_JOB_FENCE": "3"})
    assert "MLFLOW_WORKSPACE" not in env
    assert "_MLFLOW_SERVER_JOB_FENCE" not in env


def test_extra_variables_go_before_the_servers_and_behind_the_jobs_own():
    env = _environment(
        {"OPENAI_API_KEY": "server's"},
        {"_MLFLOW_SERVER_JOB_PARAMS_PATH": "/right"},
        workspace="team",
        extra_envs={
            "OPENAI_API_KEY": "job's",
            "_MLFLOW_SERVER_JOB_PARAMS_PATH": "/wrong",
            "_MLFLOW_SERVER_JOB_ID": "wrong",
            "MLFLOW_WORKSPACE": "wrong",
        },
    )
    assert env["OPENAI_API_KEY"] == "job's"
    assert env["_MLFLOW_SERVER_JOB_PARAMS_PATH"] == "/right"
    assert env["_MLFLOW_SERVER_JOB_ID"] == "j1"
    assert env["MLFLOW_WORKSPACE"] == "team"


def test_the_key_that_signs_for_any_user_reaches_no_job():
    base = {_SIGNING_KEY: "key", "PATH": "/bin"}
    assert _SIGNING_KEY not in _environment(base, extra_envs={_SIGNING_KEY: "key"})
    assert base_environment(base) == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("base", "creator", "identity"),
    [
        ({_GATEWAY_TOKEN: "t"}, "ann", ("ann", "t")),
        ({_GATEWAY_TOKEN: "t"}, None, (None, None)),
        ({}, "ann", (None, None)),
        (
            {
                _GATEWAY_TOKEN: "t",
                "MLFLOW_TRACKING_USERNAME": "operator",
                "MLFLOW_TRACKING_PASSWORD": "p",
            },
            "ann",
            ("operator", "p"),
        ),
    ],
)
def test_a_job_has_its_creators_identity_at_a_gateway_that_asks_for_one(base, creator, identity):
    env = _environment(base, creator=creator)
    assert (env.get("MLFLOW_TRACKING_USERNAME"), env.get("MLFLOW_TRACKING_PASSWORD")) == identity


@pytest.mark.parametrize(("creator", "user"), [(None, "robot"), ("ann", "ann")])
def test_a_job_that_nobody_submitted_calls_the_gateway_as_the_user_for_such_jobs(creator, user):
    base = {_GATEWAY_TOKEN: "t", "MLFLOW_SERVER_JOB_GATEWAY_USER": "robot"}
    env = _environment(
        base, creator=creator, extra_envs={"MLFLOW_SERVER_JOB_GATEWAY_USER": "somebody else"}
    )
    identity = (env["MLFLOW_TRACKING_USERNAME"], env["MLFLOW_TRACKING_PASSWORD"])
    assert identity == (user, "t")


def test_secrets_do_not_show_in_the_context():
    context = JobExecutionContext("j1", "uri", token="s3cret", extra_envs={"KEY": "s3cret"})
    assert "s3cret" not in repr(context)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENAI_API_KEY", "any"),
        ("MLFLOW_TRACKING_PASSWORD", "any"),
        ("MLFLOW_CRYPTO_KEK_PASSPHRASE", "any"),
        (_GATEWAY_TOKEN, "any"),
        (_SIGNING_KEY, "any"),
        ("my_secret", "any"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "any"),
        ("MLFLOW_BACKEND_STORE_URI", "postgresql://user:password@host/db"),
        ("HTTPS_PROXY", "http://user:password@proxy"),
        ("CALLBACK", "https://host/?sig=any"),
        ("WAREHOUSE", "Server=host;Uid=user;Pwd=any"),
        ("WAREHOUSE", "host=host user=user password = any"),
        ("GCP_ACCOUNT", '{"type": "service_account", "private_key_id": "any"}'),
    ],
)
def test_what_may_be_a_secret_does_not_reach_the_fork_server(name, value):
    assert name not in fork_server_environment({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PATH", "/bin:/opt/keys:/opt/key:/sbin"),
        ("PYTHONWARNINGS", "ignore:auth=:UserWarning"),
        ("MLFLOW_GATEWAY_URI", "http://127.0.0.1:5000"),
        ("PYTHON_KEYRING_BACKEND", "any"),
    ],
)
def test_what_is_no_secret_reaches_the_fork_server(name, value):
    assert fork_server_environment({name: value})[name] == value


def test_the_fork_server_knows_that_there_is_a_store_but_not_where():
    name = "_MLFLOW_SERVER_FILE_STORE"
    public = {
        store: fork_server_environment({name: store})[name]
        for store in ("mysql+pymysql://user:password@host/db", "/a/folder")
    }
    assert [*public.values()] == ["mysql+pymysql://", "sqlite://"]
    assert name not in fork_server_environment({})


_STORE = "_MLFLOW_SERVER_FILE_STORE"


@pytest.mark.parametrize(
    ("reads", "servers", "env", "unlike"),
    [
        ({"A": "1", "B": None}, {"A": "1"}, {"A": "1", "C": "any"}, []),
        ({"A": "1"}, {"A": "1"}, {"A": "2"}, ["A"]),
        ({"A": "1"}, {"A": "1"}, {}, ["A"]),
        ({"B": None}, {}, {"B": ""}, ["B"]),
        ({}, {}, {"LANG": "C"}, ["LANG"]),
        ({}, {"PYTHONPATH": "x"}, {}, ["PYTHONPATH"]),
        ({}, {}, {"LANGCHAIN_API_KEY": "any", "LD_SDK": "any"}, []),
        ({_STORE: "mysql://"}, {}, {_STORE: "mysql://host"}, []),
        ({_STORE: "sqlite://"}, {}, {}, [_STORE]),
        ({"MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": None}, {}, {}, []),
        (
            {"MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": None},
            {},
            {"MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": "any"},
            [],
        ),
    ],
)
def test_a_copy_does_for_a_job_whose_imports_would_have_seen_the_same(reads, servers, env, unlike):
    assert unlike_when_imported(reads, servers, env) == unlike
