"""Real servers, open and with basic-auth, whose jobs run elsewhere and show job tokens."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import requests

from dev.serving import Server, free_port
from mlflow.entities._job import JobScopedPermission
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.jobs.values import ClaimedJob
from tests.adoption import job_material
from tests.adoption.callers import Caller
from tests.adoption.job_material import USER, password_of
from tests.adoption.model_stub import ModelStub, model_stub
from tests.adoption.servers import fork_server, run_python

PLUGIN = Path(__file__).parents[1] / "fixtures" / "remote_job_plugin"
FUNCTIONS = ("add", "vanish", "fail", "flaky", "tell")
ELSEWHERE = "elsewhere"
# Served by nobody: the test claims these jobs itself.
BY_HAND = "by-hand"

_ADMIN = "root"
_LEASE_SECONDS = 3600.0
_SERVER = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "MLFLOW_DISABLE_SCHEDULER": "true",
    "MLFLOW_GATEWAY_API_BASE_ALLOWED_SCHEMES": "http",
    "MLFLOW_GATEWAY_API_BASE_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_JOB_DEFAULT_EXECUTOR_BACKEND": ELSEWHERE,
    "MLFLOW_SERVER_JOB_POLL_INTERVAL": "0.2",
    "MLFLOW_SERVER_JOB_TRANSIENT_ERROR_RETRY_BASE_DELAY": "0.1",
    "PYTHONPATH": str(PLUGIN),
    "_MLFLOW_ALLOWED_JOB_NAME_LIST": ",".join(f"remote_{name}" for name in FUNCTIONS),
    "_MLFLOW_SUPPORTED_JOB_FUNCTION_LIST": ",".join(
        f"remote_job_functions.{name}" for name in FUNCTIONS
    ),
}
_AUTH_CONFIG = f"""\
[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:///basic_auth.db
admin_username = {_ADMIN}
auth_cache_ttl_seconds = 600
"""


@dataclass(frozen=True)
class RemotePlace:
    """A server with what its jobs work on, and its job store, opened beside it.

    Attributes:
        admin: Who may do all there.
        made: What `job_material` made.
    """

    server: Server
    admin: Caller
    stub: ModelStub
    made: dict[str, Any]

    @cached_property
    def store(self) -> SqlAlchemyJobStore:
        return SqlAlchemyJobStore(f"sqlite:///{self.server.directory / 'mlflow.db'}")

    def create(
        self,
        job_name: str,
        params: Mapping[str, Any],
        grant: Sequence[JobScopedPermission],
        backend: str = ELSEWHERE,
    ) -> str:
        """Stores a job with this grant and returns its id."""
        return self.store.create_job(
            job_name, json.dumps(params), executor_backend=backend, scoped_permissions=grant
        ).job_id

    def claim_by_hand(self, grant: Sequence[JobScopedPermission]) -> ClaimedJob:
        """Claims a new job with this grant, as a runner would."""
        job_id = self.create("by_hand", {}, grant, BY_HAND)
        (job,) = self.store.claim_batch(
            "test",
            [BY_HAND],
            {"by_hand": 1},
            _LEASE_SECONDS,
            lambda *_: None,
            token_backends=[BY_HAND],
        ).claimed
        assert job.claim.job_id == job_id
        return job

    def send(
        self,
        job: ClaimedJob,
        method: str,
        path: str,
        body: Any = None,
        auth: tuple[str, str] | None = None,
    ) -> requests.Response:
        """Sends a request with a job's token."""
        headers = token_headers(job.claim.job_id, job.token)
        return requests.request(
            method, self.server.address + path, json=body, headers=headers, auth=auth, timeout=60
        )


def token_headers(job_id: str, token: str) -> dict[str, str]:
    return {"X-MLflow-Job-Id": job_id, "X-MLflow-Job-Token": token}


@contextmanager
def remote_place(directory: Path, guarded: bool) -> Iterator[RemotePlace]:
    """A server of the fork that serves while the context lasts."""
    port = free_port()
    env = _SERVER | {"MLFLOW_JOB_TRACKING_URI": f"http://127.0.0.1:{port}"}
    options = ["--workers", "1"]
    credentials = None
    if guarded:
        config = directory / "auth.ini"
        config.write_text(_AUTH_CONFIG)
        credentials = (_ADMIN, password_of(_ADMIN))
        env |= {
            "MLFLOW_AUTH_ADMIN_PASSWORD": credentials[1],
            "MLFLOW_AUTH_CONFIG_PATH": str(config),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key that signs forms",
        }
        options += ["--app-name", "basic-auth"]
    with model_stub() as stub:
        env |= {"OPENAI_API_BASE": stub.address}
        with fork_server(directory, env, args=options, port=port) as server:
            made = _make(server, stub, credentials)
            place = RemotePlace(server, Caller(server, credentials), stub, made)
            try:
                yield place
            finally:
                place.store.engine.dispose()


def _make(server: Server, stub: ModelStub, credentials: tuple[str, str] | None) -> dict[str, Any]:
    env = {"MLFLOW_TRACKING_URI": server.address}
    if credentials:
        env |= dict(
            zip(("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"), credentials, strict=True)
        )
    arguments = (job_material.__file__, stub.address, "sk-the-key-of-the-model")
    return json.loads(run_python(server.directory, *arguments, env=env).splitlines()[-1])


def user_credentials() -> tuple[str, str]:
    return USER, password_of(USER)
