"""A basic-auth app with a remote backend, and a user who submits jobs. Prints the answers as JSON.

usage: python guarded_submissions.py DIRECTORY

A program of its own, since the authorization cannot be taken off an app again.
"""

import base64
import json
import os
import sys
from pathlib import Path

ROOT, USER = "root", "ann"
PASSWORD = "a long password"
CONFIG = """\
[mlflow]
default_permission = READ
database_uri = sqlite:///{directory}/auth.db
admin_username = root
admin_password = {password}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


def main(directory: Path) -> None:
    config = directory / "auth.ini"
    config.write_text(CONFIG.format(directory=directory, password=PASSWORD))
    os.environ |= {
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key that signs forms",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_CRYPTO_KEK_PASSPHRASE": "a passphrase of this test",
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{directory}/mlflow.db",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": str(directory / "artifacts"),
    }
    # Only now: these read the environment as they load.
    from mlflow.server import app
    from mlflow.server.auth import create_app
    from mlflow.server.jobs import executor_registry
    from mlflow.server.jobs.executor_registry import JobExecutorRegistry
    from tests.server.jobs.fakes import RemoteExecutor

    registry = JobExecutorRegistry()
    registry.register("local", RemoteExecutor())
    executor_registry._registry = registry
    print(json.dumps(answers(create_app(app).test_client())))


def answers(client) -> dict[str, int]:
    """What the user is answered, before and after being given what the job needs."""

    def ask(user: str, path: str, body: dict):
        credentials = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}"}
        return client.post(path, json=body, headers=headers)

    def made(user: str, path: str, body: dict) -> dict:
        answer = ask(user, path, body)
        assert answer.status_code == 200, answer.text
        return answer.get_json()

    def permit(kind: str, name: str, permission: str) -> None:
        made(
            ROOT,
            "/api/3.0/mlflow/users/permissions/grant",
            {
                "username": USER,
                "resource_type": kind,
                "resource_id": name,
                "permission": permission,
            },
        )

    made(ROOT, "/api/2.0/mlflow/users/create", {"username": USER, "password": PASSWORD})
    experiment = made(USER, "/api/2.0/mlflow/experiments/create", {"name": "hers"})
    trace, endpoint_id = _trace_and_endpoint(experiment["experiment_id"])
    serialized = _scorer()

    def invoke(user: str) -> int:
        body = {**experiment, "serialized_scorer": serialized, "trace_ids": [trace]}
        return ask(user, "/ajax-api/3.0/mlflow/scorer/invoke", body).status_code

    found = {"without the endpoint": invoke(USER), "administrator": invoke(ROOT)}
    permit("gateway_endpoint", endpoint_id, "USE")
    found["with the endpoint"] = invoke(USER)
    permit("prompt", "grading", "DENY")
    found["without the prompt"] = invoke(USER)
    return found


def _trace_and_endpoint(experiment_id: str) -> tuple[str, str]:
    from mlflow.entities import (
        TraceInfo,
        TraceLocation,
        TraceState,
    )
    from mlflow.server.handlers import _get_tracking_store
    from tests.tracking_databases import add_gateway_endpoints

    store = _get_tracking_store()
    info = TraceInfo(
        trace_id="tr-1",
        trace_location=TraceLocation.from_experiment_id(experiment_id),
        request_time=1,
        state=TraceState.OK,
    )
    [endpoint_id] = add_gateway_endpoints(store, "judges")
    return store.start_trace(info).trace_id, endpoint_id


def _scorer() -> str:
    from mlflow.genai import make_judge

    judge = make_judge("polite", "Is {{ outputs }} so?", model="gateway:/judges")
    declared = [{"type": "prompt", "identifier": "grading"}]
    return json.dumps(judge.model_dump() | {"required_resources": declared})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
