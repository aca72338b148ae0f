"""What a prompt optimization needs, found by looking up what its params name.

The job looks the same things up when it runs. Here it is done before there is a job, so that its
grant is known, and so that nothing is left for a default to fill in.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from mlflow.entities.model_registry import PromptVersion
from mlflow.exceptions import MlflowException
from mlflow.genai.scorers.builtin_scorers import _get_builtin_scorer_class
from mlflow.genai.scorers.needs import Needs, needs_of_model, needs_of_scorer, needs_of_serialized
from mlflow.genai.scorers.required_resources import RequiredResource
from mlflow.server.handlers import _get_model_registry_store, _get_tracking_store
from mlflow.server.jobs.errors import InvalidSubmission
from mlflow.server.jobs.remote.job_needs import FieldNeeds

_OPTIMIZERS = ("gepa", "metaprompt")
_SCHEME = "prompts:/"


def needs_of_optimization(params: Mapping[str, Any]) -> Iterator[FieldNeeds]:
    """Look up the prompt, the scorers and the dataset of an `optimize_prompts` job.

    Yields:
        A field, and what is needed because of it.

    Raises:
        InvalidSubmission: A param names what is not there, or what no grant covers.
    """
    _check_optimizer(params)
    yield "params.prompt_uri", _needs_of_prompt(params["prompt_uri"])
    for i, name in enumerate(params["scorer_names"]):
        field = f"params.scorer_names[{i}]"
        yield field, _needs_of_named_scorer(field, name, params["experiment_id"])
    if params["dataset_id"]:
        _check_dataset(params["dataset_id"], params["experiment_id"])


def _check_optimizer(params: Mapping[str, Any]) -> None:
    if params["optimizer_type"].lower() not in _OPTIMIZERS:
        raise InvalidSubmission(
            "params.optimizer_type", f"must be one of {', '.join(_OPTIMIZERS)} to run elsewhere"
        )


def _needs_of_prompt(prompt_uri: str) -> Needs:
    prompt = _prompt(prompt_uri)
    config = prompt.model_config or {}
    provider, model = config.get("provider"), config.get("model_name")
    uri = f"{provider}:/{model}" if provider and model else None
    calls = needs_of_model(uri, f"prompt {prompt.name!r}, by its model configuration,")
    return Needs(prompts=frozenset({prompt.name})) | calls


def _prompt(prompt_uri: str) -> PromptVersion:
    # A bare name stands for the latest version, as in `load_prompt`.
    uri = prompt_uri if prompt_uri.startswith(_SCHEME) else f"{_SCHEME}{prompt_uri}@latest"
    try:
        name = RequiredResource("prompt", uri).name
        version = uri.removeprefix(_SCHEME).lstrip("/").removeprefix(name).strip("/@")
        prompt = _get_model_registry_store().get_prompt_version(name, version)
    except MlflowException as error:
        raise InvalidSubmission("params.prompt_uri", error.message) from error
    if prompt is None:
        raise InvalidSubmission("params.prompt_uri", f"there is no prompt {prompt_uri!r}")
    return prompt


def _needs_of_named_scorer(field: str, name: str, experiment_id: str) -> Needs:
    # The job prefers a built-in scorer, if its class can be made without arguments.
    if builtin := _get_builtin_scorer_class(name):
        try:
            return needs_of_scorer(builtin().model_dump())
        except (MlflowException, ValueError, TypeError):
            pass
    try:
        registered = _get_tracking_store().get_scorer(experiment_id, name)
    except MlflowException as error:
        raise InvalidSubmission(field, error.message) from error
    return needs_of_serialized(registered._serialized_scorer)


def _check_dataset(dataset_id: str, experiment_id: str) -> None:
    store = _get_tracking_store()
    try:
        store.get_dataset(dataset_id)
    except MlflowException as error:
        raise InvalidSubmission("params.dataset_id", error.message) from error
    if experiment_id not in store.get_dataset_experiment_ids(dataset_id):
        raise InvalidSubmission(
            "params.dataset_id",
            f"dataset {dataset_id!r} does not belong to experiment {experiment_id}, which is all "
            "that the job is granted; add the dataset to the experiment",
        )
