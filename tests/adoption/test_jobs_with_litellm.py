"""Where litellm is installed prompts are optimized, and jobs are forked as they are without it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.adoption import job_places
from tests.adoption.job_material import USER
from tests.adoption.job_places import Place
from tests.adoption.job_submissions import (
    invoke_scorer,
    optimize_prompts,
    result_of,
    run_online_trace_scorer,
    watch_progress,
)
from tests.adoption.servers import wait_for, with_litellm

pytestmark = pytest.mark.servers

_PLACES = {
    "open": job_places.open_place,
    "guarded": job_places.guarded_place,
    "workspace": job_places.workspace_place,
}


@pytest.fixture(scope="module", params=[*_PLACES])
def place(request, tmp_path_factory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp(request.param)
    with _PLACES[request.param](directory, env=with_litellm()) as place:
        yield place


@pytest.fixture(scope="module")
def optimized(place) -> dict[str, Any]:
    """The result of the optimization."""
    return result_of(place, optimize_prompts(place))


def test_a_prompt_optimization_registers_a_better_version(place, optimized):
    assert optimized["optimized_prompt_uri"] == "prompts:/greeting/2"
    path = "/api/2.0/mlflow/model-versions/get?name=greeting&version=2"
    version = place.caller.ask("GET", path)["model_version"]
    tags = {tag["key"]: tag["value"] for tag in version["tags"]}
    assert tags["mlflow.prompt.text"] == "Be brief. Greet {{name}}."
    assert place.caller.run(optimized["run_id"])["info"]["status"] == "FINISHED"


@pytest.mark.parametrize("place", ["guarded", "workspace"], indirect=True)
def test_a_prompt_optimization_is_its_user_to_the_gateway(place, optimized):
    def callers() -> set[str | None]:
        calls = place.admin.traces(place.made["usage"])
        return {call["trace_metadata"].get("mlflow.auth.username") for call in calls}

    wait_for(lambda: USER in callers(), "the gateway's record of its caller")
    assert None not in callers()


def test_a_judge_that_is_run_on_traces_leaves_its_answers_there(place):
    result = result_of(place, invoke_scorer(place))
    assert all(of_trace["failures"] == [] for of_trace in result.values())
    seen = place.caller.feedback(place.made["experiment"], "invoked")
    assert seen == place.one_yes_for_each_trace()


@pytest.mark.parametrize("place", ["open"], indirect=True)
def test_how_far_an_optimization_is_can_be_seen_while_it_works(place, optimized):
    watch_progress(place, optimize_prompts, 0, ("optimizing prompts", 0, 1, "prompts"))


@pytest.mark.parametrize("place", ["open"], indirect=True)
def test_a_scoring_job_is_forked(place):
    asked = len(place.stub.keys)
    with place.stub.silence:
        answer = run_online_trace_scorer(place)
        # About each trace one; a job of the leader has fewer.
        wait_for(lambda: len(place.stub.keys) >= asked + 3, "the job's questions to the model")
        commands = [" ".join(command) for command in place.caller.server.processes().values()]
    # A child that does not become another program is shown as its parent is.
    assert len([command for command in commands if "fork_server.py" in command]) >= 2, commands
    assert not [command for command in commands if "_job_subproc_entry" in command]
    result_of(place, answer)
    seen = place.caller.feedback(place.made["experiment"], "traced")
    assert seen == place.one_yes_for_each_trace()
