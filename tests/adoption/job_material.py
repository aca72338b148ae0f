"""What job functions work on, made over HTTP as users make it. Prints what it made as JSON.

usage: python job_material.py MODEL_ADDRESS MODEL_KEY

On a server with basic-auth the environment holds the administrator's credentials; the administrator
sets up the model and the users, and a user who may use the model makes the rest. With workspaces
all of it is in the one that the environment names.
"""

import json
import os
import sys
import time
from typing import Any

import mlflow
from mlflow.entities import GatewayEndpointModelConfig, GatewayModelLinkageType
from mlflow.genai import make_judge
from mlflow.genai.scorers import ScorerSamplingConfig
from mlflow.tracking._tracking_service.utils import _get_store

USER, STRANGER, ROBOT = "ann", "bob", "robot"
ENDPOINT = "stub-endpoint"


def password_of(user: str) -> str:
    return f"{user}'s password"


def main(model_address: str, model_key: str) -> None:
    made = _make_endpoint(model_address, model_key)
    if "MLFLOW_TRACKING_USERNAME" in os.environ:
        _make_users(made)
        os.environ["MLFLOW_TRACKING_USERNAME"] = USER
        os.environ["MLFLOW_TRACKING_PASSWORD"] = password_of(USER)
    print(json.dumps(made | _make_the_users_things()))


def _make_endpoint(model_address: str, model_key: str) -> dict[str, Any]:
    store = _get_store()
    secret = store.create_gateway_secret(
        "stub-key",
        {"api_key": model_key},
        provider="openai",
        auth_config={"api_base": model_address},
    )
    model = store.create_gateway_model_definition("stub", secret.secret_id, "openai", "stub")
    endpoint = store.create_gateway_endpoint(
        ENDPOINT,
        [
            GatewayEndpointModelConfig(
                model_definition_id=model.model_definition_id,
                linkage_type=GatewayModelLinkageType.PRIMARY,
            )
        ],
    )
    return {
        "secret": secret.secret_id,
        "endpoint": endpoint.endpoint_id,
        "usage": endpoint.experiment_id,
    }


def _make_users(made: dict[str, Any]) -> None:
    from mlflow.server.auth.client import AuthServiceClient

    client = AuthServiceClient(mlflow.get_tracking_uri())
    workspace = os.environ.get("MLFLOW_WORKSPACE")
    roles = {role.name: role.id for role in client.list_roles(workspace)} if workspace else {}
    for user in (USER, STRANGER, ROBOT):
        client.create_user(user, password_of(user))
        if workspace:
            client.assign_role(user, roles["user"])
    for user in (USER, ROBOT):
        client.grant_user_permission(user, "gateway_endpoint", made["endpoint"], "USE")
    client.grant_user_permission(USER, "gateway_secret", made["secret"], "USE")


def _make_the_users_things() -> dict[str, Any]:
    asked = mlflow.set_experiment("asked").experiment_id
    traces = [_trace(number, session="chat") for number in range(3)]
    watched = mlflow.set_experiment("watched").experiment_id
    watched_traces = [_trace(number, session=None) for number in range(2)]
    mlflow.flush_trace_async_logging()

    judge = make_judge(
        "polite", "Is {{ outputs }} polite?", model=f"gateway:/{ENDPOINT}", feedback_value_type=str
    )
    calm = make_judge(
        "calm", "Is {{ conversation }} calm?", model=f"gateway:/{ENDPOINT}", feedback_value_type=str
    )
    watching = judge.register(experiment_id=watched)
    watching.start(experiment_id=watched, sampling_config=ScorerSamplingConfig(sample_rate=1.0))
    prompt = mlflow.genai.register_prompt(
        "greeting",
        "Greet {{name}}.",
        model_config={"provider": "openai", "model_name": "stub"},
    )
    return {
        "experiment": asked,
        "traces": traces,
        "judge": json.dumps(judge.model_dump()),
        "session_judge": json.dumps(calm.model_dump()),
        "prompt": prompt.uri,
        "watched": watched,
        "watched_traces": watched_traces,
    }


def _trace(number: int, session: str | None) -> str:
    # Some time ago, and each at a time of its own.
    start = time.time_ns() - (60 - number) * 10**9
    span = mlflow.start_span_no_context(
        "answer",
        inputs={"question": f"What is {number}?"},
        metadata={"mlflow.trace.session": session} if session else None,
        start_time_ns=start,
    )
    span.set_outputs({"answer": f"It is {number}, my friend."})
    span.end(end_time_ns=start + 10**6)
    return span.trace_id


if __name__ == "__main__":
    main(*sys.argv[1:])
