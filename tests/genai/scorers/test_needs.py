"""What each form of a serialized scorer needs of the server."""

import json
import re

import pytest

from mlflow.genai import make_judge, scorer
from mlflow.genai.scorers import (
    Guidelines,
    PIIDetection,
    RequiredResource,
    Safety,
    UserFrustration,
    make_scorer_ensemble,
)
from mlflow.genai.scorers.builtin_scorers import _get_all_concrete_builtin_scorers
from mlflow.genai.scorers.needs import Needs, needs_of_scorer, needs_of_serialized
from mlflow.genai.scorers.scorer_utils import extract_model_from_serialized_scorer

GATEWAY, DIRECT = "gateway:/judges", "openai:/gpt-5"


@scorer
def plain(outputs):
    return len(outputs) > 3


@scorer
def calling(outputs):
    from mlflow.genai.judges import make_judge

    return make_judge("j", "{{ outputs }}?", model="gateway:/judges")(outputs=outputs)


@scorer(required_resources=())
def settled(outputs):
    from mlflow.genai.judges import make_judge

    return bool(make_judge)


@scorer(
    required_resources=(
        RequiredResource("gateway_endpoint", "gateway:/declared"),
        RequiredResource("prompt", "prompts:/grading/1"),
    )
)
def declaring(outputs):
    from mlflow.genai.judges import make_judge

    return make_judge("j", "{{ outputs }}?", model="gateway:/seen")(outputs=outputs)


@scorer(required_resources=(RequiredResource("gateway_endpoint", "declared"),))
def going_round(outputs):
    from mlflow.genai.judges import make_judge

    return make_judge("j", "{{ outputs }}?", model="openai:/gpt-5")(outputs=outputs)


def judge(model, name="polite"):
    return make_judge(name, "Is {{ outputs }} polite?", model=model, feedback_value_type=str)


def by_hand(model):
    return {"name": "j", "instructions_judge_pydantic_data": {"model": model}}


def ensemble(*members):
    return make_scorer_ensemble(name="all", scorers=list(members), ensemble_fn="majority_vote")


def third_party(module, metric="Faithfulness", model=None, **kwargs):
    data = {"module": module, "class": metric, "metric_name": metric, "model": model}
    return {"name": "third", "third_party_scorer_data": {**data, "kwargs": kwargs}}


def remembering(base, embedding_model=DIRECT, examples=()):
    memory = {
        "base_judge": base.model_dump(),
        "episodic_trace_ids": list(examples),
        "semantic_memory": [],
        "reflection_lm": DIRECT,
        "embedding_model": embedding_model,
    }
    return {"name": "polite", "memory_augmented_judge_data": memory}


USE = Needs(endpoints=frozenset({"judges"}))
GRANTABLE = {
    "a judge": (judge(GATEWAY), USE),
    "a judge with an endpoint behind two slashes": (judge("gateway://judges"), USE),
    "a built-in judge": (Safety(model=GATEWAY), USE),
    "a built-in judge of sessions": (UserFrustration(model=GATEWAY), USE),
    "a built-in judge with parameters": (Guidelines(guidelines="be kind", model=GATEWAY), USE),
    "a built-in scorer without a model": (PIIDetection(), Needs()),
    "a third-party scorer": (third_party("mlflow.genai.scorers.phoenix", model=GATEWAY), USE),
    "a class of a third-party library": (
        third_party("mlflow.genai.scorers.ragas.scorers.rag_metrics", model=GATEWAY),
        USE,
    ),
    "a ragas scorer without a model": (
        third_party("mlflow.genai.scorers.ragas", "BleuScore"),
        Needs(),
    ),
    "a deepeval scorer without a model": (
        third_party("mlflow.genai.scorers.deepeval.scorers", "ExactMatch"),
        Needs(),
    ),
    "a judge with guidelines but no examples": (remembering(judge(GATEWAY)), USE),
    "a judge with embedded examples": (
        remembering(judge(GATEWAY), "gateway:/embeddings", ["tr-1"]),
        Needs(endpoints=frozenset({"judges", "embeddings"})),
    ),
    "code": (plain, Needs()),
    "code that declares that it needs nothing": (settled, Needs()),
    "code that declares, beside what is seen": (
        declaring,
        Needs(endpoints=frozenset({"declared", "seen"}), prompts=frozenset({"grading"})),
    ),
    "an ensemble": (ensemble(judge(GATEWAY), Safety(model="gateway:/other")), None),
    "an ensemble of ensembles": (ensemble(ensemble(declaring, plain), ensemble(plain)), None),
    "a judge that declares": (
        judge(GATEWAY).model_dump()
        | {"required_resources": [{"type": "prompt", "identifier": "style"}]},
        USE | Needs(prompts=frozenset({"style"})),
    ),
}
OUTSIDE = {
    "a judge": (judge(DIRECT), "scorer 'polite' calls the model 'openai:/gpt-5'"),
    "a judge with a databricks model": (by_hand("databricks"), "'databricks'"),
    "a judge with a databricks endpoint": (judge("endpoints:/x"), "'endpoints:/x'"),
    "a built-in judge": (Safety(model=DIRECT), "scorer 'safety' calls"),
    "a third-party scorer": (
        third_party("mlflow.genai.scorers.trulens", model=DIRECT),
        "scorer 'third' calls",
    ),
    "embeddings of a library": (
        third_party("mlflow.genai.scorers.ragas", "AnswerRelevancy", GATEWAY),
        "embedding model",
    ),
    "embeddings of examples": (
        remembering(judge(GATEWAY), examples=["tr-1"]),
        "the memory of scorer 'polite' calls",
    ),
    "a remembering judge's own model": (remembering(judge(DIRECT)), "scorer 'polite' calls"),
    "code that declares something else": (going_round, "the code of scorer 'going_round' calls"),
    "a member of an ensemble": (ensemble(plain, ensemble(plain, judge(DIRECT))), "'polite'"),
}
UNTOLD = {
    "a built-in judge with the default model": (Safety(), "'safety' names no model"),
    "a judge made by hand": (
        {"name": "j", "instructions_judge_pydantic_data": {"instructions": "?"}},
        "'j' names no model",
    ),
    "a judge with a blank model": (
        by_hand(" "),
        "'j' names no model",
    ),
    "a judge with a list for a model": (
        by_hand([GATEWAY]),
        "'j' names no model",
    ),
    "a judge with no data": ({"name": "j", "instructions_judge_pydantic_data": []}, "no model"),
    "a library that would use a default": (
        third_party("mlflow.genai.scorers.phoenix"),
        "'third' names no model",
    ),
    "a library of another name": (third_party("mlflow.genai.scorers.ragas_too"), "no model"),
    "third-party data of another shape": ({"name": "t", "third_party_scorer_data": 1}, "read"),
    "an embedding default": (
        remembering(judge(GATEWAY), embedding_model=None, examples=["tr-1"]),
        "the memory of scorer 'polite' names no model",
    ),
    "a memory of another shape": ({"name": "m", "memory_augmented_judge_data": [1]}, "memory"),
    "a memory without a judge": (
        {"name": "m", "memory_augmented_judge_data": {"base_judge": None}},
        "must be a JSON object",
    ),
    "code that declares nothing": (calling, "imports mlflow.genai.judges, .*required_resources"),
    "code that is not Python": ({"name": "c", "call_source": "return ("}, "cannot be parsed"),
    "code that is not text": ({"name": "c", "call_source": ["return 1"]}, "not text"),
    "code with a prompt of no name": (
        {"name": "c", "call_source": "return load('prompts:/@best')"},
        "required resource",
    ),
    "an unreadable declaration": (
        {"name": "c", "call_source": "return 1", "required_resources": "all"},
        "scorer 'c': required_resources must be a list",
    ),
    "an unknown built-in class": ({"name": "b", "builtin_scorer_class": "Nice"}, "built-in class"),
    "an abstract built-in class": (
        {"name": "b", "builtin_scorer_class": "BuiltInScorer"},
        "built-in class",
    ),
    "data of a built-in class without the class": (
        {"name": "b", "builtin_scorer_pydantic_data": {"model": GATEWAY}},
        "no class",
    ),
    "an ensemble without members": (
        {"name": "e", "ensemble_scorer_data": {"scorers": []}},
        "without readable members",
    ),
    "an ensemble of another shape": ({"name": "e", "ensemble_scorer_data": "x"}, "members"),
    "an ensemble with a member of another shape": (
        {"name": "e", "ensemble_scorer_data": {"scorers": [7]}},
        "must be a JSON object",
    ),
    "no form at all": ({"name": "n"}, "'n' is in a form that this server does not know"),
    "no name": ({}, "'<unnamed>'"),
    "a list": ([], "must be a JSON object"),
    "nothing": (None, "must be a JSON object"),
}


def dumped(made):
    return made if isinstance(made, (dict, list, type(None))) else made.model_dump()


@pytest.mark.parametrize("form", GRANTABLE)
def test_what_can_be_told_is_needed(form):
    made, expected = GRANTABLE[form]
    needs = needs_of_serialized(json.dumps(dumped(made)))
    assert (needs.outside_gateway, needs.untold) == ((), ())
    if expected is not None:
        assert needs == expected


def test_the_needs_of_an_ensemble_are_those_of_all_its_members():
    made = ensemble(judge(GATEWAY), ensemble(declaring, plain), Safety(model="gateway:/other"))
    assert needs_of_scorer(made.model_dump()) == Needs(
        endpoints=frozenset({"judges", "other", "declared", "seen"}),
        prompts=frozenset({"grading"}),
    )


@pytest.mark.parametrize("form", OUTSIDE)
def test_a_model_outside_the_gateway_is_named_with_its_scorer(form):
    made, words = OUTSIDE[form]
    needs = needs_of_scorer(dumped(made))
    assert len(needs.outside_gateway) == 1
    assert words in needs.outside_gateway[0]
    assert needs.untold == ()


@pytest.mark.parametrize("form", UNTOLD)
def test_what_cannot_be_told_says_why(form):
    made, words = UNTOLD[form]
    [reason] = needs_of_serialized(json.dumps(dumped(made))).untold
    assert re.search(words, reason)


@pytest.mark.parametrize("text", ["", "{", "not json", "[" * 100_000, None, 7])
def test_what_is_not_json_needs_what_cannot_be_told(text):
    assert len(needs_of_serialized(text).untold) == 1


def test_a_scorer_nested_without_end_is_refused_and_not_a_crash():
    nested = '{"name": "e", "ensemble_scorer_data": {"scorers": ['
    assert len(needs_of_serialized(nested * 300 + "7" + "]}}" * 300).untold) == 1


def test_one_form_hides_no_other():
    hidden = judge(GATEWAY).model_dump() | {
        "call_source": "return 1",
        "ensemble_scorer_data": {"scorers": [judge(DIRECT, "inner").model_dump()]},
    }
    needs = needs_of_scorer(hidden)
    assert needs.endpoints == {"judges"}
    assert "'inner'" in needs.outside_gateway[0]


@pytest.mark.parametrize(
    "builtin", _get_all_concrete_builtin_scorers(), ids=lambda builtin: builtin.__name__
)
def test_every_built_in_class_with_a_model_is_asked_for_it(builtin):
    """A class of a later release that keeps its model elsewhere would go unseen."""
    bare = {"name": "b", "builtin_scorer_class": builtin.__name__}
    takes_a_model = "model" in builtin.model_fields
    assert bool(needs_of_scorer(bare).untold) is takes_a_model
    if takes_a_model:
        given = bare | {"builtin_scorer_pydantic_data": {"model": GATEWAY}}
        assert extract_model_from_serialized_scorer(given) == GATEWAY
        assert needs_of_scorer(given) == USE


def test_no_code_of_a_scorer_runs(tmp_path):
    ran = tmp_path / "ran"
    source = f"open({str(ran)!r}, 'w')"
    code = {
        "name": "c",
        "call_source": source,
        "call_signature": "(outputs)",
        "original_func_name": "c",
    }
    assert needs_of_serialized(json.dumps(code)) == Needs()
    assert not ran.exists()
