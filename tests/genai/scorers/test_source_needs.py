"""What is seen of a custom scorer's needs in its source, which never runs."""

import pytest

from mlflow.genai.scorers.source_needs import look_at

CLEAR = [
    "return len(outputs) > 3",
    "import re\nreturn bool(re.match('a', outputs))",
    "import json, math\nfrom collections import Counter\nreturn 1",
    "from mlflow.entities import Feedback\nreturn Feedback(name='x', value=1)",
    "import mlflow\nreturn mlflow.entities.Feedback(name='x', value=1)",
    "import mlflow.entities\nreturn 1",
    "from mlflow import entities\nreturn 1",
    "return Feedback(value=True, rationale='see gateway:/ for more')",
    "import re\nreturn re.compile('a')",
    "return outputs == 'gateway:/judges'",
]
UNCLEAR = [
    ("import openai\nreturn 1", "imports openai"),
    ("import numpy as np\nreturn 1", "imports numpy"),
    ("from openai import OpenAI\nreturn 1", "imports openai"),
    ("from . import secrets\nreturn 1", "imports ."),
    ("import mlflow.genai\nreturn 1", "imports mlflow.genai"),
    ("from mlflow import genai\nreturn 1", "imports mlflow.genai"),
    ("from mlflow.genai.judges import make_judge\nreturn 1", "imports mlflow.genai.judges"),
    ("return mlflow.genai.load_prompt('prompts:/x/1')", "uses mlflow.genai"),
    ("return mlflow.search_traces()", "uses mlflow.search_traces"),
    ("import importlib\nreturn 1", "imports importlib"),
    ("return __import__('openai')", "calls __import__"),
    ("return eval(outputs)", "calls eval"),
    ("return exec(outputs)", "calls exec"),
    ("return f'gateway:/{outputs}'", "puts a gateway:/ URI together"),
    ("return 'gateway:/' + outputs", "puts a gateway:/ URI together"),
    ("return 'gateway:/judges' + outputs", "puts a gateway:/ URI together"),
    ("return 'gateway:/%s' % outputs", "puts a gateway:/ URI together"),
    ("return 'prompts:/{}/1'.format(outputs)", "puts a prompts:/ URI together"),
    ("scheme = 'gateway:/'\nreturn scheme", "puts a gateway:/ URI together"),
]


@pytest.mark.parametrize("source", CLEAR)
def test_code_that_reaches_for_nothing_is_clear(source):
    assert look_at(source).unclear == ()


@pytest.mark.parametrize(("source", "why"), UNCLEAR)
def test_code_that_may_reach_for_something_says_by_what(source, why):
    assert look_at(source).unclear == (why,)


def test_whole_uris_are_needs():
    seen = look_at(
        "a = ask('gateway:/judges', model='gateway:/other')\n"
        "b = load('prompts:/grading/1') or load(name='prompts:/plain@best')\n"
        "return a, b"
    )
    assert seen.gateway_uris == {"gateway:/judges", "gateway:/other"}
    assert seen.prompt_uris == {"prompts:/grading/1", "prompts:/plain@best"}


@pytest.mark.parametrize("source", [source for source, why in UNCLEAR if why.startswith("puts a")])
def test_a_uri_that_is_put_together_names_nothing(source):
    seen = look_at(source)
    assert (seen.gateway_uris, seen.prompt_uris) == (frozenset(), frozenset())


@pytest.mark.parametrize(
    ("source", "models"),
    [
        ("return ask(model='openai:/gpt-5')", {"openai:/gpt-5"}),
        ("return ask(model='gateway:/judges')", {"gateway:/judges"}),
        # By a client of the gateway, an endpoint is called by its bare name.
        ("return ask(model='judges')", set()),
        ("return ask('openai:/gpt-5')", set()),
        ("return ask(model=outputs)", set()),
    ],
)
def test_a_model_is_a_uri_that_is_passed_as_one(source, models):
    assert look_at(source).models == models


@pytest.mark.parametrize(
    "source", ["return (", "if outputs:\nreturn 1", "return '\x00'", "(" * 5000 + ")" * 5000]
)
def test_what_is_not_python_is_an_error(source):
    with pytest.raises(ValueError, match="cannot be parsed|null bytes"):
        look_at(source)


def test_nothing_of_the_source_runs(tmp_path):
    trace = tmp_path / "ran"
    look_at(f"open({str(trace)!r}, 'w')\nimport sys\nsys.exit(1)")
    assert not trace.exists()
