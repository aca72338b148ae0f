"""A runner that serves a remote backend: each of its claims comes with a token, and no other."""

import pytest

from mlflow.store.jobs.job_tokens import hash_of
from mlflow.store.jobs.values import TokenHolder
from tests.server.jobs.fakes import PATIENCE_SECONDS, ScriptedExecutor


class RemoteExecutor(ScriptedExecutor):
    remote_execution = True


@pytest.fixture(params=[RemoteExecutor, ScriptedExecutor], ids=["remote", "local"])
def executor(request):
    return request.param()


@pytest.mark.parametrize("backend", ["local", None], ids=["by name", "the default one"])
def test_a_claim_for_a_remote_backend_gives_it_a_token_and_addresses(
    build_parts, clock, executor, job_store, make_pending, backend
):
    parts = build_parts(clock, remote_tracking_uri="http://tracking")
    job_id = make_pending("sample_add", executor_backend=backend)
    parts.claimer.beat()
    assert executor.await_submissions(1)
    context = executor.submitted[job_id]["context"]
    executor.stop_executor()
    for job in parts.owned.all():
        assert job.gone.wait(PATIENCE_SECONDS)

    if executor.remote_execution:
        assert (context.tracking_uri, context.gateway_uri) == ("http://tracking", "http://tracking")
        assert job_store.job_of_token(TokenHolder(job_id, hash_of(context.token))).live
    else:
        assert (context.tracking_uri, context.token) == ("sqlite:///tracking", None)


def test_a_gateway_elsewhere_is_told(build_parts, clock, job_store, make_pending, executor):
    parts = build_parts(
        clock, remote_tracking_uri="http://tracking", remote_gateway_uri="http://gateway"
    )
    job_id = make_pending("sample_add", executor_backend="local")
    parts.claimer.beat()
    assert executor.await_submissions(1)
    context = executor.submitted[job_id]["context"]
    executor.stop_executor()
    for job in parts.owned.all():
        assert job.gone.wait(PATIENCE_SECONDS)
    assert (context.gateway_uri == "http://gateway") is executor.remote_execution
