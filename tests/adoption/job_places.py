"""Servers with all that the job functions work on, open or with basic-auth."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.serving import Server
from tests.adoption import job_material
from tests.adoption.callers import Caller
from tests.adoption.job_material import ROBOT, USER, password_of
from tests.adoption.model_stub import ModelStub, model_stub
from tests.adoption.servers import fork_server, run_python
from tests.store.jobs.real_databases import fresh_database

MODEL_KEY = "sk-the-key-of-the-model"
ADMIN = "root"
_WORKSPACE = "team"
_SERVER = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "MLFLOW_GATEWAY_API_BASE_ALLOWED_SCHEMES": "http",
    "MLFLOW_GATEWAY_API_BASE_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_ONLINE_SCORING_DEFAULT_SESSION_COMPLETION_BUFFER_SECONDS": "0",
    "MLFLOW_ONLINE_SCORING_DEFAULT_TRACE_COMPLETION_BUFFER_SECONDS": "0",
    "MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS": "true",
}
_WITH_AUTH = {
    "MLFLOW_AUTH_ADMIN_PASSWORD": password_of(ADMIN),
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key that signs forms",
    "MLFLOW_SERVER_JOB_GATEWAY_USER": ROBOT,
}
# The cache saves a slow password check per request.
_AUTH_CONFIG = f"""\
[mlflow]
default_permission = READ
database_uri = sqlite:///basic_auth.db
admin_username = {ADMIN}
auth_cache_ttl_seconds = 600
"""


@dataclass(frozen=True)
class Place:
    """A server with all that the jobs work on.

    Attributes:
        caller: The user whose things they are.
        admin: The administrator; the same as the user on an open server.
        stub: The model behind the gateway.
        made: What `job_material` made.
    """

    caller: Caller
    admin: Caller
    stub: ModelStub
    made: dict[str, Any]

    def judge(self, name: str, made_as: str = "judge") -> str:
        """Returns the serialized judge under a name of its own, by which to find its answers."""
        return json.dumps(json.loads(self.made[made_as]) | {"name": name})

    def other(self, user: str | None) -> Caller:
        """Returns somebody else who works in the same place; None has no credentials."""
        return as_user(self.caller.server, user, self.caller.workspace)

    def runner(self) -> int:
        """Returns the process id of the server's runner."""
        processes = self.caller.server.processes().items()
        (pid,) = [pid for pid, command in processes if "mlflow.server.jobs.runner" in command]
        return pid

    def one_yes_for_each_trace(self) -> Counter:
        return Counter((trace, "yes") for trace in self.made["traces"])


@contextlib.contextmanager
def open_place(directory: Path, env: Mapping[str, str] | None = None) -> Iterator[Place]:
    """Runs a server that asks nobody who they are.

    Args:
        directory: Where it runs.
        env: Variables beside those that the jobs need.
    """
    with model_stub() as stub:
        served = _SERVER | {"OPENAI_API_BASE": stub.address} | dict(env or {})
        with fork_server(directory, served) as server:
            caller = Caller(server)
            yield Place(caller, caller, stub, _make(server, stub, {}))


@contextlib.contextmanager
def open_workspace_place(directory: Path) -> Iterator[Place]:
    """Runs a server with workspaces on PostgreSQL that asks nobody who they are."""
    with contextlib.ExitStack() as stack:
        stub = stack.enter_context(model_stub())
        uri = stack.enter_context(fresh_database("postgresql", directory))
        options = ("--workers", "1", "--enable-workspaces", "--backend-store-uri", uri)
        served = _SERVER | {"OPENAI_API_BASE": stub.address}
        server = stack.enter_context(fork_server(directory, served, args=options))
        Caller(server).ask("POST", "/api/3.0/mlflow/workspaces", {"name": _WORKSPACE})
        Caller(server).ask("GET", "/api/3.0/mlflow/server-info")
        caller = Caller(server, workspace=_WORKSPACE)
        yield Place(caller, caller, stub, _make(server, stub, {"MLFLOW_WORKSPACE": _WORKSPACE}))


@contextlib.contextmanager
def guarded_place(
    directory: Path,
    authorization_function: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[Place]:
    """Runs a server with basic-auth.

    Args:
        directory: Where it runs.
        authorization_function: What tells who a caller is in place of the passwords of basic-auth,
            as `module:function`.
        env: Variables beside those that the jobs need.
    """
    config = ""
    if authorization_function:
        config = f"authorization_function = {authorization_function}\n"
    with model_stub() as stub, _guarded_server(directory, config=config, env=env) as server:
        yield _guarded(server, stub, None)


@contextlib.contextmanager
def workspace_place(directory: Path, env: Mapping[str, str] | None = None) -> Iterator[Place]:
    """Runs a server with basic-auth and workspaces on PostgreSQL; all is done in one of them.

    Args:
        directory: Where it runs.
        env: Variables beside those that the jobs need.
    """
    with contextlib.ExitStack() as stack:
        stub = stack.enter_context(model_stub())
        uri = stack.enter_context(fresh_database("postgresql", directory))
        options = ("--enable-workspaces", "--backend-store-uri", uri)
        server = stack.enter_context(_guarded_server(directory, *options, env=env))
        admin = as_user(server, ADMIN)
        admin.ask("POST", "/api/3.0/mlflow/workspaces", {"name": _WORKSPACE})
        # A client that names a workspace asks this first, and waits three seconds at most.
        admin.ask("GET", "/api/3.0/mlflow/server-info")
        yield _guarded(server, stub, _WORKSPACE)


@contextlib.contextmanager
def another_server(place: Place, directory: Path) -> Iterator[Caller]:
    """Runs a second server on the database of an open place, and yields a caller of it."""
    first = place.caller.server.directory
    served = _SERVER | {"OPENAI_API_BASE": place.stub.address}
    options = (
        *("--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{first / 'mlflow.db'}"),
        *("--artifacts-destination", str(first / "mlartifacts")),
    )
    with fork_server(directory, served, args=options) as server:
        yield Caller(server)


def as_user(server: Server, user: str | None, workspace: str | None = None) -> Caller:
    """Returns the user as a caller; None has no credentials."""
    return Caller(server, user and (user, password_of(user)), workspace)


def _guarded_server(
    directory: Path, *options: str, config: str = "", env: Mapping[str, str] | None = None
) -> Server:
    path = directory / "auth.ini"
    path.write_text(_AUTH_CONFIG + config)
    served = _SERVER | _WITH_AUTH | {"MLFLOW_AUTH_CONFIG_PATH": str(path)} | dict(env or {})
    options = ("--workers", "1", "--app-name", "basic-auth", *options)
    return fork_server(directory, served, args=options)


def _guarded(server: Server, stub: ModelStub, workspace: str | None) -> Place:
    admin = as_user(server, ADMIN, workspace)
    name, password = admin.credentials
    env = {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": password}
    if workspace:
        env["MLFLOW_WORKSPACE"] = workspace
    return Place(as_user(server, USER, workspace), admin, stub, _make(server, stub, env))


def _make(server: Server, stub: ModelStub, env: Mapping[str, str]) -> dict[str, Any]:
    env = {"MLFLOW_TRACKING_URI": server.address, **env}
    arguments = (job_material.__file__, stub.address, MODEL_KEY)
    return json.loads(run_python(server.directory, *arguments, env=env).splitlines()[-1])
