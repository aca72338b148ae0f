"""What the params of a job show of its needs, each under the name of the param that shows it.

This is the part that needs no database; what a prompt optimization names is looked up in
`prompt_optimization`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from mlflow.genai.scorers.needs import Needs, needs_of_model, needs_of_serialized
from mlflow.genai.scorers.scorer_utils import extract_endpoint_ref, is_gateway_model
from mlflow.server.jobs.functions import is_built_in

# The param that says which model a job calls by itself, beside its scorers.
_MODEL_OF = {
    "invoke_issue_detection": "model",
    "scheduled_issue_detection": "model",
}

FieldNeeds = tuple[str, Needs]


def needs_of_job(job_name: str, params: Mapping[str, Any]) -> Iterator[FieldNeeds]:
    """Look at each param that names scorers or models.

    Args:
        job_name: The job.
        params: Its params, as they were validated.

    Yields:
        A field, as `params.serialized_scorer`, and what is needed because of it.
    """
    for field, text in _serialized_scorers(params):
        yield field, needs_of_serialized(text)
    if name := _MODEL_OF.get(job_name):
        yield f"params.{name}", needs_of_model(params.get(name), "the job")
    if job_name == "optimize_prompts":
        config = params.get("optimizer_config")
        model = config.get("reflection_model") if isinstance(config, Mapping) else None
        yield "params.optimizer_config.reflection_model", needs_of_model(model, "the optimizer")
    if not is_built_in(job_name):
        yield from _endpoints_named(params)


def _serialized_scorers(params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if "serialized_scorer" in params:
        yield "params.serialized_scorer", params["serialized_scorer"]
    for i, text in enumerate(_list_of(params, "serialized_scorers")):
        yield f"params.serialized_scorers[{i}]", text
    for i, scorer in enumerate(_list_of(params, "online_scorers")):
        text = scorer.get("serialized_scorer") if isinstance(scorer, Mapping) else None
        yield f"params.online_scorers[{i}].serialized_scorer", text


def _list_of(params: Mapping[str, Any], name: str) -> list[Any]:
    value = params.get(name)
    return value if isinstance(value, list) else []


def _endpoints_named(params: Mapping[str, Any]) -> Iterator[FieldNeeds]:
    """For a job function of an operator's own: whoever submits it says what it calls."""
    for name, value in params.items():
        if isinstance(value, str) and is_gateway_model(value):
            yield f"params.{name}", Needs(endpoints=frozenset({extract_endpoint_ref(value)}))
