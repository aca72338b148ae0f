"""What a serialized scorer needs of the server, by a look at its stored form.

Nothing is deserialized and no code is run. Every form is looked at that is there, so that a scorer
made by hand cannot hide one behind another.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.genai.scorers.builtin_scorers import _get_builtin_scorer_class
from mlflow.genai.scorers.required_resources import RequiredResource, declared_in
from mlflow.genai.scorers.scorer_utils import extract_endpoint_ref, is_gateway_model
from mlflow.genai.scorers.source_needs import look_at

_RAGAS = "mlflow.genai.scorers.ragas"
# These libraries' scorers settle their model when they are made; without one they call none.
_MODEL_SETTLED = (_RAGAS, "mlflow.genai.scorers.deepeval")
# Their embeddings come from OpenAI, and nothing in the stored form can say otherwise.
_RAGAS_WITH_EMBEDDINGS = ("AnswerRelevancy", "SemanticSimilarity")

_NAME_LENGTH = 100


@dataclass(frozen=True)
class Needs:
    """What is needed of the server, and what stands against granting it.

    Attributes:
        endpoints: Names of gateway endpoints to be called.
        prompts: Names of prompts to be read.
        outside_gateway: For each model that is not behind the gateway, who calls it.
        untold: For each need that cannot be told, why, and what would tell it.
    """

    endpoints: frozenset[str] = frozenset()
    prompts: frozenset[str] = frozenset()
    outside_gateway: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(
            self.endpoints | other.endpoints,
            self.prompts | other.prompts,
            self.outside_gateway + other.outside_gateway,
            self.untold + other.untold,
        )


def needs_of_serialized(text: str) -> Needs:
    """What the scorer in this JSON text needs."""
    try:
        serialized = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return _untold("the serialized scorer is not JSON that can be read")
    try:
        return needs_of_scorer(serialized)
    except RecursionError:
        return _untold("the serialized scorer is nested too deep")


def needs_of_scorer(serialized: Any) -> Needs:
    """What a scorer needs, given its serialized form as a mapping."""
    if not isinstance(serialized, dict):
        return _untold("a serialized scorer must be a JSON object")
    who = f"scorer {str(serialized.get('name') or '<unnamed>')[:_NAME_LENGTH]!r}"
    found = [
        needs(serialized, who) for form, needs in _FORMS.items() if serialized.get(form) is not None
    ]
    if not found:
        found = [_untold(f"{who} is in a form that this server does not know")]
    total = _declared(serialized, who)
    for needs in found:
        total |= needs
    return total


def needs_of_model(model: Any, who: str) -> Needs:
    """What it needs to call this model, which may be missing."""
    if not isinstance(model, str) or not model.strip():
        return _untold(
            f"{who} names no model, and no grant can cover the default that would be used; give it "
            "a gateway:/ endpoint as its model"
        )
    if is_gateway_model(model):
        return Needs(endpoints=frozenset({extract_endpoint_ref(model)}))
    return Needs(outside_gateway=(f"{who} calls the model {model[:_NAME_LENGTH]!r}",))


def _untold(reason: str) -> Needs:
    return Needs(untold=(reason,))


def _declared(serialized: dict[str, Any], who: str) -> Needs:
    try:
        declared = declared_in(serialized)
    except MlflowException as error:
        return _untold(f"{who}: {error.message}")
    return _needs_of_resources(declared or ())


def _needs_of_resources(resources: Iterable[RequiredResource]) -> Needs:
    return Needs(
        endpoints=frozenset(r.name for r in resources if r.type == "gateway_endpoint"),
        prompts=frozenset(r.name for r in resources if r.type == "prompt"),
    )


def _of_builtin(serialized: dict[str, Any], who: str) -> Needs:
    scorer_class = _get_builtin_scorer_class(serialized.get("builtin_scorer_class"))
    if scorer_class is None:
        return _untold(f"{who} is of a built-in class that this server does not know")
    data = serialized.get("builtin_scorer_pydantic_data")
    model = data.get("model") if isinstance(data, dict) else None
    if model is None and "model" not in scorer_class.model_fields:
        return Needs()
    return needs_of_model(model, who)


def _of_builtin_data(serialized: dict[str, Any], who: str) -> Needs:
    if serialized.get("builtin_scorer_class") is None:
        return _untold(f"{who} has the data of a built-in scorer but no class")
    return Needs()


def _of_instructions(serialized: dict[str, Any], who: str) -> Needs:
    data = serialized["instructions_judge_pydantic_data"]
    return needs_of_model(data.get("model") if isinstance(data, dict) else None, who)


def _of_memory(serialized: dict[str, Any], who: str) -> Needs:
    data = serialized["memory_augmented_judge_data"]
    if not isinstance(data, dict):
        return _untold(f"{who} has a memory that cannot be read")
    needs = needs_of_scorer(data.get("base_judge"))
    # Only remembered examples are embedded; the model of reflection is for alignment alone.
    if data.get("episodic_trace_ids"):
        needs |= needs_of_model(data.get("embedding_model"), f"the memory of {who}")
    return needs


def _of_third_party(serialized: dict[str, Any], who: str) -> Needs:
    data = serialized["third_party_scorer_data"]
    if not isinstance(data, dict):
        return _untold(f"{who} has third-party data that cannot be read")
    module, model = str(data.get("module") or ""), data.get("model")
    settled = any(_is_below(module, library) for library in _MODEL_SETTLED)
    needs = Needs() if model is None and settled else needs_of_model(model, who)
    if _is_below(module, _RAGAS) and data.get("metric_name") in _RAGAS_WITH_EMBEDDINGS:
        needs |= Needs(outside_gateway=(f"{who} calls an embedding model of OpenAI",))
    return needs


def _of_ensemble(serialized: dict[str, Any], who: str) -> Needs:
    data = serialized["ensemble_scorer_data"]
    members = data.get("scorers") if isinstance(data, dict) else None
    if not isinstance(members, list) or not members:
        return _untold(f"{who} is an ensemble without readable members")
    needs = Needs()
    for member in members:
        needs |= needs_of_scorer(member)
    return needs


def _of_code(serialized: dict[str, Any], who: str) -> Needs:
    source = serialized["call_source"]
    try:
        if not isinstance(source, str):
            raise ValueError("its source is not text")
        seen = look_at(source)
        prompts = [RequiredResource("prompt", uri) for uri in sorted(seen.prompt_uris)]
    except (ValueError, MlflowException) as error:
        return _untold(f"what {who} needs cannot be told: {error}")
    needs = _needs_of_resources(prompts)
    for uri in sorted(seen.gateway_uris | seen.models):
        needs |= needs_of_model(uri, f"the code of {who}")
    # A declaration that cannot be read has been refused already.
    if seen.unclear and serialized.get("required_resources") is None:
        needs |= _untold(
            f"the code of {who} {seen.unclear[0]}, and what it needs of the server is not "
            "declared; declare it with @scorer(required_resources=...), as () if it needs nothing, "
            "and register it again"
        )
    return needs


def _is_below(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


_FORMS = {
    "builtin_scorer_class": _of_builtin,
    "builtin_scorer_pydantic_data": _of_builtin_data,
    "instructions_judge_pydantic_data": _of_instructions,
    "memory_augmented_judge_data": _of_memory,
    "third_party_scorer_data": _of_third_party,
    "ensemble_scorer_data": _of_ensemble,
    "call_source": _of_code,
}
