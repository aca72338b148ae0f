"""A submission is given its backend once, or refused with the reason."""

import json
from collections.abc import Callable

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.exceptions import MlflowException
from mlflow.server.jobs import executor_registry
from mlflow.server.jobs.errors import InvalidSubmission, UnknownBackend
from mlflow.server.jobs.executor import AbstractJobExecutor, JobExecutorConfig, JobResult
from mlflow.server.jobs.executor_registry import JobExecutorRegistry
from mlflow.server.jobs.router import JobRouter, select_executor_backend
from mlflow.server.jobs.settings import JobSettings

CUSTOM_SCORER = json.dumps({"name": "mine", "call_source": "return True"})
DIRECT_JUDGE = json.dumps(
    {
        "name": "judge",
        "instructions_judge_pydantic_data": {"instructions": "good?", "model": "openai:/gpt-4o"},
    }
)
GATEWAY_JUDGE = DIRECT_JUDGE.replace("openai:/gpt-4o", "gateway:/judges")

PLAIN = ("optimize_prompts", {})
WITH_CUSTOM_SCORER = ("invoke_scorer", {"serialized_scorer": CUSTOM_SCORER})
EVALUATION_WITH_CUSTOM_SCORER = (
    "invoke_genai_evaluate",
    {"serialized_scorers": [GATEWAY_JUDGE, CUSTOM_SCORER]},
)
ONLINE_WITH_CUSTOM_SCORER = (
    "run_online_trace_scorer",
    {"online_scorers": [{"serialized_scorer": CUSTOM_SCORER}]},
)


class RecordedExecutor(AbstractJobExecutor):
    """A backend that runs nothing; what it claims to support is given to it."""

    def __init__(
        self,
        supports: Callable[[str], bool] = lambda job_name: True,
        remote: bool = False,
        direct_models: bool = False,
    ) -> None:
        super().__init__(JobExecutorConfig())
        self._supports = supports
        self._remote = remote
        self._direct_models = direct_models

    @property
    def remote_execution(self):
        return self._remote

    @property
    def supports_direct_provider_models(self):
        return self._direct_models

    def supports_job(self, job_name, params):
        return self._supports(job_name)

    def submit_job(self, job_id, job_name, fn_fullname, params, context, **_):
        raise NotImplementedError

    def wait_for_job(self, job_id):
        return JobResult(JobStatus.FAILED)

    def cancel_job(self, job_id):
        raise NotImplementedError

    def recover_jobs(self, unfinished_job_ids):
        return []


def router(backends=None, **settings) -> JobRouter:
    registry = JobExecutorRegistry()
    for name, executor in (backends or {"local": RecordedExecutor()}).items():
        registry.register(name, executor)
    return JobRouter(JobSettings(**settings), registry)


def test_a_job_goes_to_the_default_backend():
    assert router().route(*PLAIN) == "local"


def test_a_backend_is_a_configured_instance_and_not_a_type():
    routes = router({"ray:gpu-pool": RecordedExecutor()}, default_backend="ray:gpu-pool")
    assert routes.route(*PLAIN) == "ray:gpu-pool"


@pytest.mark.parametrize(
    "submission", [WITH_CUSTOM_SCORER, EVALUATION_WITH_CUSTOM_SCORER, ONLINE_WITH_CUSTOM_SCORER]
)
def test_custom_scorers_are_refused_unless_the_operator_permits_them(submission):
    with pytest.raises(InvalidSubmission, match="MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS=true"):
        router().route(*submission)


def test_a_custom_scorer_goes_to_the_default_backend_where_no_other_is_set():
    assert router(custom_scorers_enabled=True).route(*WITH_CUSTOM_SCORER) == "local"


@pytest.mark.parametrize("submission", [WITH_CUSTOM_SCORER, EVALUATION_WITH_CUSTOM_SCORER])
def test_a_custom_scorer_goes_to_the_backend_set_for_custom_scorers(submission):
    routes = router(
        {"local": RecordedExecutor(), "boxed": RecordedExecutor()},
        custom_scorer_backend="boxed",
        custom_scorers_enabled=True,
    )
    assert routes.route(*submission) == "boxed"
    assert routes.route(*PLAIN) == "local"


def test_a_custom_scorer_never_falls_back_to_the_default_backend():
    routes = router(
        {"local": RecordedExecutor(), "boxed": RecordedExecutor(lambda name: False)},
        custom_scorer_backend="boxed",
        custom_scorers_enabled=True,
    )
    with pytest.raises(InvalidSubmission, match="'boxed' only, .* does not run 'invoke_scorer'"):
        routes.route(*WITH_CUSTOM_SCORER)


def test_an_online_job_that_uses_containers_itself_stays_on_the_default_backend():
    routes = router(
        {"local": RecordedExecutor(), "boxed": RecordedExecutor(lambda name: False)},
        custom_scorer_backend="boxed",
        custom_scorers_enabled=True,
    )
    assert routes.route(*ONLINE_WITH_CUSTOM_SCORER) == "local"


def test_a_job_that_its_backend_does_not_run_is_refused_at_submission():
    routes = router({"local": RecordedExecutor(lambda name: False)})
    with pytest.raises(InvalidSubmission, match="'optimize_prompts' .* backend 'local'"):
        routes.route(*PLAIN)


def test_a_backend_that_this_server_does_not_have_is_named():
    with pytest.raises(UnknownBackend, match="'away'"):
        router(default_backend="away").route(*PLAIN)


@pytest.mark.parametrize(
    ("remote", "direct_models", "scorer", "accepted"),
    [
        (True, False, DIRECT_JUDGE, False),
        (True, False, GATEWAY_JUDGE, True),
        (True, True, DIRECT_JUDGE, True),
        (False, False, DIRECT_JUDGE, True),
    ],
)
def test_a_model_outside_the_gateway_is_refused_on_a_remote_backend_only(
    remote, direct_models, scorer, accepted
):
    routes = router({"local": RecordedExecutor(remote=remote, direct_models=direct_models)})
    submission = ("invoke_scorer", {"serialized_scorer": scorer})
    if accepted:
        assert routes.route(*submission) == "local"
    else:
        with pytest.raises(InvalidSubmission, match="AI Gateway"):
            routes.route(*submission)


@pytest.mark.parametrize(
    ("submission", "field"),
    [
        # Upstream's check lets these pass, though only a server with credentials reaches them.
        (
            ("invoke_scorer", {"serialized_scorer": DIRECT_JUDGE.replace("openai:", "endpoints:")}),
            "params.serialized_scorer: scorer 'judge'",
        ),
        (
            ("invoke_genai_evaluate", {"serialized_scorers": [GATEWAY_JUDGE, DIRECT_JUDGE]}),
            r"params.serialized_scorers\[1\]: scorer 'judge'",
        ),
        (
            ("run_online_trace_scorer", {"online_scorers": [{"serialized_scorer": DIRECT_JUDGE}]}),
            r"params.online_scorers\[0\].serialized_scorer: scorer 'judge'",
        ),
        (("invoke_issue_detection", {"model": "openai:/gpt-4o"}), "params.model: the job"),
        (
            ("optimize_prompts", {"optimizer_config": {"reflection_model": "openai:/gpt-4o"}}),
            "params.optimizer_config.reflection_model: the optimizer",
        ),
    ],
)
def test_whoever_calls_a_model_outside_the_gateway_is_named(submission, field):
    with pytest.raises(InvalidSubmission, match=f"{field} calls the model .* backend 'ray'"):
        router({"ray": RecordedExecutor(remote=True)}, default_backend="ray").route(*submission)


def test_a_custom_scorer_on_a_remote_backend_is_held_to_the_gateway_too():
    calling = json.dumps({"name": "mine", "call_source": "return ask(model='openai:/gpt-4o')"})
    routes = router(
        {"local": RecordedExecutor(), "boxed": RecordedExecutor(remote=True)},
        custom_scorer_backend="boxed",
        custom_scorers_enabled=True,
    )
    with pytest.raises(InvalidSubmission, match="the code of scorer 'mine' calls the model"):
        routes.route("invoke_scorer", {"serialized_scorer": calling})


def test_a_backend_is_chosen_before_it_is_asked_what_it_reaches():
    routes = router({"ray": RecordedExecutor(remote=True)}, default_backend="ray")
    assert routes.choose("invoke_scorer", {"serialized_scorer": DIRECT_JUDGE}) == "ray"


def test_a_scorer_that_is_nested_without_end_is_refused():
    serialized = '{"ensemble_scorer_data": ' + "[" * 50_000 + "]" * 50_000 + "}"
    with pytest.raises(InvalidSubmission, match="nested too deep"):
        router().route("invoke_scorer", {"serialized_scorer": serialized})


def test_a_serialized_scorer_that_is_not_json_is_refused():
    with pytest.raises(MlflowException, match="scorer") as refused:
        router().route("invoke_scorer", {"serialized_scorer": "{"})
    assert refused.value.get_http_status_code() == 400


def test_the_name_that_plugins_know_selects_by_this_servers_settings(monkeypatch):
    registry = JobExecutorRegistry()
    registry.register("boxed", RecordedExecutor(lambda name: name == "invoke_scorer"))
    monkeypatch.setattr(executor_registry, "_registry", registry)
    monkeypatch.setenv("MLFLOW_JOB_DEFAULT_EXECUTOR_BACKEND", "usual")
    monkeypatch.setenv("MLFLOW_JOB_CUSTOM_SCORER_EXECUTOR_BACKEND", "boxed")

    assert select_executor_backend(is_custom_scorer=False) == "usual"
    assert select_executor_backend(is_custom_scorer=True) == "boxed"
    assert select_executor_backend(is_custom_scorer=True, job_name="invoke_scorer") == "boxed"
    with pytest.raises(InvalidSubmission, match="does not run 'invoke_genai_evaluate'"):
        select_executor_backend(is_custom_scorer=True, job_name="invoke_genai_evaluate")
