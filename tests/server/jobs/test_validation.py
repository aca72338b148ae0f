"""A bad field is refused by name before it becomes a row."""

import json
import math
from typing import Any, Optional

import pytest

from mlflow.server.jobs.errors import InvalidSubmission
from mlflow.server.jobs.validation import (
    MAX_ENV_BYTES,
    MAX_PARAMS_DEPTH,
    MAX_TIMEOUT_SECONDS,
    is_storable_text,
    validate_extra_envs,
    validate_json_object,
    validate_parameters,
    validate_text,
    validate_timeout,
)


def takes_one(x):
    pass


def takes_anything(**params):
    pass


def annotated(
    text: str = "",
    count: int = 0,
    ratio: float = 0.0,
    flag: bool = False,
    names: list[str] | None = None,
    scorers: list[dict[str, Any]] | None = None,
    versions: list[int | None] | None = None,
    limits: Optional[dict[str, int]] = None,  # noqa: UP045
    implicit: str = None,  # noqa: RUF013
    anything: Any = None,
    bare_list: list | None = None,
):
    pass


def refers_to_what_only_a_type_checker_knows(x: "NotImported"):  # noqa: F821
    pass


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def test_params_are_stored_as_json_text_that_reads_back_equal():
    params = {"x": {"a": [1, 2.5, True, None, "äöü\U0001f600"]}}
    assert json.loads(validate_parameters(takes_one, params)) == params


@pytest.mark.parametrize(
    ("params", "field", "reason"),
    [
        (None, "params", "must be a JSON object, not null"),
        ([1], "params", "must be a JSON object, not an array"),
        ("x", "params", "must be a JSON object, not a string"),
        ({}, "params.x", "is required"),
        ({"x": 1, "y": 2}, "params.y", "is not a parameter"),
        ({"x": math.nan}, "params.x", "must be finite"),
        ({"x": [0, {"deep": -math.inf}]}, "params.x[1].deep", "must be finite"),
        ({"x": "a\x00b"}, "params.x", "NUL"),
        ({"x": {"a\x00": 1}}, "params.x", "NUL"),
        ({"x": "half \ud83d"}, "params.x", "lone surrogate"),
        ({"x": ["\udc00"]}, "params.x[0]", "lone surrogate"),
        ({"x": {1: "a"}}, "params.x", "has the key 1, not a string"),
        ({"x": object()}, "params.x", "is a object, which JSON cannot hold"),
        ({"x": {1, 2}}, "params.x", "is a set, which JSON cannot hold"),
        ({"x": nested(MAX_PARAMS_DEPTH)}, "params", "nested deeper than"),
        ({"x": nested(100_000)}, "params", "nested deeper than"),
        ({"x": 10**5000}, "params", "cannot be written as JSON"),
    ],
)
def test_params_that_cannot_be_kept_or_do_not_fit_the_function_are_refused(params, field, reason):
    with pytest.raises(InvalidSubmission) as refused:
        validate_parameters(takes_one, params)
    assert refused.value.field == field
    assert reason in refused.value.message
    assert refused.value.message.startswith(field)
    assert refused.value.get_http_status_code() == 400
    assert len(refused.value.message) < 400


def test_params_nested_up_to_the_bound_are_accepted():
    validate_parameters(takes_one, {"x": nested(MAX_PARAMS_DEPTH - 1)})


def test_a_function_of_any_keywords_takes_any_params():
    assert validate_parameters(takes_anything, {"a": 1, "b": 2}) == '{"a": 1, "b": 2}'


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", "a"),
        ("count", 3),
        ("ratio", 3),
        ("ratio", 0.5),
        ("flag", True),
        ("names", ["a"]),
        ("names", ("a", "b")),
        ("names", None),
        ("scorers", [{"name": "s"}]),
        ("versions", [1, None]),
        ("limits", {"a": 1}),
        ("limits", None),
        ("implicit", None),
        ("anything", {"a": [1]}),
        ("bare_list", [1, "a"]),
    ],
)
def test_a_value_of_the_annotated_type_is_accepted(name, value):
    assert json.loads(validate_parameters(annotated, {name: value}))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("text", 3, "must be str, not an integer"),
        ("text", None, "must be str, not null"),
        ("count", "3", "must be int, not a string"),
        ("count", True, "must be int, not a boolean"),
        ("count", 1.5, "must be int, not a number"),
        ("ratio", "0.5", "must be float, not a string"),
        ("ratio", False, "must be float, not a boolean"),
        ("flag", 1, "must be bool, not an integer"),
        ("names", "ab", "not a string"),
        ("names", [1], "not an array"),
        ("scorers", ["s"], "not an array"),
        ("versions", [1, "2"], "not an array"),
        ("limits", {"a": "b"}, "not an object"),
        ("bare_list", {}, "not an object"),
    ],
)
def test_a_value_of_another_type_than_annotated_is_refused(name, value, expected):
    with pytest.raises(InvalidSubmission) as refused:
        validate_parameters(annotated, {name: value})
    assert refused.value.field == f"params.{name}"
    assert expected in refused.value.message


def test_annotations_that_cannot_be_resolved_are_not_checked():
    assert validate_parameters(refers_to_what_only_a_type_checker_knows, {"x": 1})


@pytest.mark.parametrize("timeout", [0.001, 1, 3600.5, MAX_TIMEOUT_SECONDS])
def test_a_positive_finite_timeout_is_accepted(timeout):
    assert validate_timeout(timeout) == timeout


def test_no_timeout_stays_none():
    assert validate_timeout(None) is None


@pytest.mark.parametrize(
    "timeout",
    [0, -1, -0.0, math.nan, math.inf, -math.inf, True, "5", [5], 10**400, 2 * MAX_TIMEOUT_SECONDS],
)
def test_a_timeout_that_is_no_time_is_refused_by_name(timeout):
    with pytest.raises(InvalidSubmission, match="^timeout: ") as refused:
        validate_timeout(timeout)
    assert len(refused.value.message) < 300


@pytest.mark.parametrize("envs", [None, {}])
def test_no_extra_envs_is_an_empty_mapping(envs):
    assert validate_extra_envs(envs) == {}


@pytest.mark.parametrize(
    ("envs", "field"),
    [
        ("A=b", "extra_envs"),
        ({1: "secret"}, "extra_envs"),
        ({"": "secret"}, "extra_envs"),
        ({"A=B": "secret"}, "extra_envs"),
        ({"A\x00": "secret"}, "extra_envs"),
        ({"A": None}, "extra_envs['A']"),
        ({"A": 1}, "extra_envs['A']"),
        ({"A": "secret\x00"}, "extra_envs['A']"),
        ({"A": "secret\ud800"}, "extra_envs['A']"),
        ({"A": "secret" * MAX_ENV_BYTES}, "extra_envs['A']"),
        ({f"A{i}": "secret" * 20_000 for i in range(5)}, "extra_envs"),
    ],
)
def test_extra_envs_that_no_process_can_be_given_are_refused_without_their_values(envs, field):
    with pytest.raises(InvalidSubmission) as refused:
        validate_extra_envs(envs)
    assert refused.value.field == field
    assert "secret" not in refused.value.message


def test_extra_envs_are_passed_on_as_they_are():
    envs = {"OPENAI_API_KEY": "k", "EMPTY": ""}
    assert validate_extra_envs(envs) == envs


@pytest.mark.parametrize("text", ["a\x00", "\ud800", 3, None])
def test_text_that_a_database_cannot_hold_is_told_apart(text):
    assert not is_storable_text(text)


def test_any_other_text_is_storable():
    assert is_storable_text("äöü\U0001f600\n'\"%_")


def test_a_search_field_that_no_database_takes_is_refused_by_name():
    with pytest.raises(InvalidSubmission, match="^creator: holds a NUL"):
        validate_text("creator", "a\x00")
    with pytest.raises(InvalidSubmission, match=r"^params\.x: must be finite"):
        validate_json_object("params", {"x": math.inf})
    assert validate_text("creator", None) is None
