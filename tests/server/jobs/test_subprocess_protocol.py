"""What a job process and its runner exchange survives the exchange, or is refused in words."""

import dataclasses
import json

import pytest

from mlflow.server.jobs import _job_subproc_entry, subprocess_protocol
from mlflow.server.jobs.functions import TransientError
from mlflow.server.jobs.subprocess_protocol import (
    UnusableResult,
    _SubprocessJobResult,
    clean_text,
    encode_result,
    read_error_classes,
    write_error_classes,
)


def _endless():
    value = []
    value.append(value)
    return value


def _deep():
    value = None
    for _ in range(100_000):
        value = [value]
    return value


class _Unspeakable(Exception):
    def __repr__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "value",
    [
        None,
        0,
        "",
        "Grüße \U0001f600",
        {"key": [1, 2.5, True, None]},
        "a literal \\u0000 and \\ud800",
        "\\",
        'tab\tquote"newline\n',
        {"\U0001f600": "\U0001f600"},
    ],
)
def test_a_plain_value_is_encoded(value):
    text = encode_result(value)
    assert json.loads(text) == value
    assert text.isascii()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), "not JSON serializable"),
        ({1, 2}, "not JSON serializable"),
        (b"bytes", "not JSON serializable"),
        ({(1, 2): 3}, "keys must be"),
        (float("nan"), "not plain JSON"),
        ({"score": float("inf")}, "not plain JSON"),
        (_endless(), "Circular"),
        (_deep(), "not plain JSON"),
        pytest.param(10**5000, "not plain JSON", id="a long integer"),
        ("\0", "NUL"),
        ({"a\0": 1}, "NUL"),
        ("\\\0", "NUL"),
        ("\ud800", "surrogate"),
        (["\udc00"], "surrogate"),
        ("\ud800x\udc00", "surrogate"),
        ("\udc00\ud800", "surrogate"),
    ],
)
def test_a_value_that_cannot_be_kept_is_refused_in_words(value, words):
    with pytest.raises(UnusableResult, match="the job function returned") as refusal:
        encode_result(value)
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    "result",
    ["NaN", '{"a": Infinity}', "not json", '"\\u0000"', '"\\ud800"', '"\ud800"'],
)
def test_a_result_that_another_release_encoded_is_checked_too(tmp_path, result):
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"succeeded": True, "result": result}))
    with pytest.raises(UnusableResult, match="the job function returned"):
        _SubprocessJobResult.load(str(path))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"succeeded": true, "shell": "rm"}', "null"])
def test_a_result_file_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(UnusableResult, match="result file"):
        _SubprocessJobResult.load(str(path))


@pytest.mark.parametrize(
    "result",
    [
        _SubprocessJobResult.from_value({"a": "\U0001f600"}),
        _SubprocessJobResult.from_error(ValueError("bad")),
    ],
)
def test_a_result_survives_the_file(tmp_path, result):
    path = str(tmp_path / "result.json")
    result.dump(path)
    assert _SubprocessJobResult.load(path) == result
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize(
    ("error", "is_transient", "words"),
    [
        (ValueError("bad"), False, "ValueError('bad')"),
        (TransientError(OSError("away")), True, "OSError('away')"),
        (ConnectionError("away"), True, "ConnectionError('away')"),
        (ConnectionResetError("away"), False, "ConnectionResetError('away')"),
        (SystemExit(0), False, "The job function called sys.exit(0) instead of returning."),
        (SystemExit(), False, "The job function called sys.exit(None) instead of returning."),
        (ValueError("nul \0 and \ud800"), False, "ValueError('nul \\x00 and \\ud800')"),
        (_Unspeakable(), False, "_Unspeakable"),
        (UnusableResult("the job function returned x"), False, "The job function returned x."),
    ],
)
def test_a_failure_is_told_in_words_and_by_class_worth_a_retry(error, is_transient, words):
    result = _SubprocessJobResult.from_error(error, [ConnectionError])
    assert not result.succeeded
    assert result.is_transient_error is is_transient
    assert result.error == words


def test_an_error_text_is_storable_and_bounded():
    assert clean_text("a\0b\ud800") == "a\\x00b\\ud800"
    bounded = clean_text("x" * 1_000_000)
    assert len(bounded) < 65_000
    assert bounded.endswith("(936000 characters left out)")


def test_transient_error_classes_survive_the_file(tmp_path):
    path = str(tmp_path / "classes")
    write_error_classes(path, [ConnectionError, UnusableResult])
    assert read_error_classes(path) == [ConnectionError, UnusableResult]
    write_error_classes(path, None)
    assert read_error_classes(path) == []


def test_the_wire_contract_with_mlflow_3_18_stands():
    assert [field.name for field in dataclasses.fields(_SubprocessJobResult)] == [
        "succeeded",
        "result",
        "is_transient_error",
        "error",
    ]
    contract = {
        "_JOB_ENTRY_MODULE": "mlflow.server.jobs._job_subproc_entry",
        "MLFLOW_SERVER_JOB_NAME_ENV_VAR": "_MLFLOW_SERVER_JOB_NAME",
        "MLFLOW_SERVER_JOB_ID_ENV_VAR": "_MLFLOW_SERVER_JOB_ID",
        "MLFLOW_SERVER_JOB_PARAMS_ENV_VAR": "_MLFLOW_SERVER_JOB_PARAMS",
        "MLFLOW_SERVER_JOB_FUNCTION_FULLNAME_ENV_VAR": "_MLFLOW_SERVER_JOB_FUNCTION_FULLNAME",
        "MLFLOW_SERVER_JOB_RESULT_DUMP_PATH_ENV_VAR": "_MLFLOW_SERVER_JOB_RESULT_DUMP_PATH",
        "MLFLOW_SERVER_JOB_TRANSIENT_ERROR_CLASSES_PATH_ENV_VAR": (
            "_MLFLOW_SERVER_JOB_TRANSIENT_ERROR_CLASSES_PATH"
        ),
        "MLFLOW_ORIGINAL_PARENT_PID_ENV_VAR": "_MLFLOW_ORIGINAL_PARENT_PID",
    }
    assert {name: getattr(subprocess_protocol, name) for name in contract} == contract


def test_a_job_process_takes_its_params_from_a_file_that_it_removes(tmp_path, monkeypatch):
    path = tmp_path / "params.json"
    path.write_text('{"x": 1}')
    monkeypatch.setenv("_MLFLOW_SERVER_JOB_PARAMS_PATH", str(path))
    monkeypatch.setenv("_MLFLOW_SERVER_JOB_PARAMS", '{"x": 2}')
    assert _job_subproc_entry._params() == {"x": 1}
    assert not path.exists()


def test_a_job_process_takes_its_params_from_the_variable_of_3_18(monkeypatch):
    monkeypatch.delenv("_MLFLOW_SERVER_JOB_PARAMS_PATH", raising=False)
    monkeypatch.setenv("_MLFLOW_SERVER_JOB_PARAMS", '{"x": 2}')
    assert _job_subproc_entry._params() == {"x": 2}
