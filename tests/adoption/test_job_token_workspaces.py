"""I8 with workspaces: a job token opens the workspace of its job, whatever the request says."""

import pytest
import requests

from mlflow.entities._job import JobScopedPermission
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from tests.adoption.remote_places import token_headers
from tests.adoption.servers import fork_server

pytestmark = pytest.mark.servers

_API = "/api/3.0/mlflow"


def test_a_job_token_opens_the_workspace_of_its_job_alone(tmp_path):
    env = {"MLFLOW_DISABLE_SCHEDULER": "true"}
    options = ("--workers", "1", "--enable-workspaces")
    with fork_server(tmp_path, env, args=options) as server:

        def send(method, path, body=None, workspace=None, headers=None):
            headers = dict(headers or {})
            if workspace:
                headers["X-MLFLOW-WORKSPACE"] = workspace
            return requests.request(
                method, server.address + path, json=body, headers=headers, timeout=60
            )

        experiments = {}
        for workspace in ("team", "other"):
            assert send("POST", _API + "/workspaces", {"name": workspace}).ok
            made = send("POST", "/api/2.0/mlflow/experiments/create", {"name": "e"}, workspace)
            experiments[workspace] = made.json()["experiment_id"]
        grant = [
            JobScopedPermission("experiment", each, None, "EDIT") for each in experiments.values()
        ]
        store = SqlAlchemyJobStore(f"sqlite:///{tmp_path / 'mlflow.db'}")
        store.create_job(
            "by_hand", "{}", executor_backend="hand", scoped_permissions=grant, workspace="team"
        )
        (job,) = store.claim_batch(
            "test", ["hand"], {"by_hand": 1}, 3600.0, lambda *_: None, token_backends=["hand"]
        ).claimed
        token = token_headers(job.claim.job_id, job.token)

        def search(experiment, workspace):
            place = {
                "type": "MLFLOW_EXPERIMENT",
                "mlflow_experiment": {"experiment_id": experiments[experiment]},
            }
            body = {"locations": [place]}
            return send("POST", _API + "/traces/search", body, workspace, token).status_code

        assert search("team", "team") == 200
        assert search("team", None) == 403
        assert search("team", "other") == 403
        assert search("other", "other") == 403
        chat = {"model": "m", "messages": []}
        path = "/gateway/mlflow/v1/chat/completions"
        assert send("POST", path, chat, "other", token).status_code == 403
        reports = f"/api/3.0/jobs/{job.claim.job_id}"
        assert send("POST", reports + "/progress", {"message": "x"}, None, token).status_code == 200
        done = {"status": "SUCCEEDED", "result": "1"}
        assert send("POST", reports + "/result", done, None, token).status_code == 200
        assert store.get_job(job.claim.job_id).result == "1"
        assert search("team", "team") == 401
        store.engine.dispose()
