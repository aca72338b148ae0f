"""Refuse a bad submission before it becomes a row, naming the field that is wrong."""

import inspect
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from mlflow.server.jobs.errors import InvalidSubmission

# Well below what the readers of a row take: pydantic some 250 levels, Python's JSON parser 1000.
MAX_PARAMS_DEPTH = 100

MAX_TIMEOUT_SECONDS = 366 * 24 * 3600.0

# The kernel refuses a program whose environment holds one string of 128 KiB.
MAX_ENV_BYTES = 128 * 1024 - 1
MAX_ENVS_BYTES = 512 * 1024


def validate_parameters(function: Callable[..., Any], params: Any) -> str:
    """Check `params` against the signature of a job function.

    Returns:
        The JSON text to store.

    Raises:
        InvalidSubmission: `params` is not an object of plain, finite JSON values, is too deep, or
            does not fit the function. The message names the parameter.
    """
    params = validate_json_object("params", params)
    _check_names(function, params)
    _check_types(function, params)
    return _encode(params)


def validate_json_object(field: str, value: Any) -> dict[str, Any]:
    """Check that `value` is an object of plain, finite JSON values that a database can hold.

    Raises:
        InvalidSubmission: it is not. The message names the place below `field`.
    """
    if not isinstance(value, Mapping):
        raise InvalidSubmission(field, f"must be a JSON object, not {_json_type(value)}")
    _check_values(field, value)
    return dict(value)


def validate_text(field: str, text: str | None) -> str | None:
    """Check that every supported database can be asked for `text`.

    Raises:
        InvalidSubmission: it holds a NUL character or half of a surrogate pair.
    """
    if text is not None and (reason := _unstorable(text)):
        raise InvalidSubmission(field, f"holds {reason}")
    return text


def validate_timeout(timeout: Any) -> float | None:
    """Check a timeout in seconds; None means that there is none.

    Raises:
        InvalidSubmission: not a number, not finite, not positive, or longer than a year.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise InvalidSubmission(
            "timeout", f"must be a number of seconds, not {_json_type(timeout)}"
        )
    # Comparing first: float() of a very long integer overflows.
    if not 0 < timeout <= MAX_TIMEOUT_SECONDS:
        raise InvalidSubmission(
            "timeout",
            "must be finite, above 0 and at most "
            f"{MAX_TIMEOUT_SECONDS:.0f} seconds, which {_shorten(timeout)} is not",
        )
    return float(timeout)


def validate_extra_envs(extra_envs: Any) -> dict[str, str]:
    """Check environment variables for a job. Their values never show in a message.

    Raises:
        InvalidSubmission: not a mapping of names to strings that a process can be given.
    """
    if extra_envs is None:
        return {}
    if not isinstance(extra_envs, Mapping):
        raise InvalidSubmission(
            "extra_envs", f"must map names to strings, not be {_json_type(extra_envs)}"
        )
    total = 0
    for name, value in extra_envs.items():
        if not isinstance(name, str) or not name or "=" in name or _unstorable(name):
            raise InvalidSubmission(
                "extra_envs", f"has {_shorten(name)}, which cannot name an environment variable"
            )
        if not isinstance(value, str):
            raise InvalidSubmission(
                f"extra_envs[{name!r}]", f"must be a string, not {_json_type(value)}"
            )
        if reason := _unstorable(value):
            raise InvalidSubmission(f"extra_envs[{name!r}]", f"holds {reason}")
        size = len(f"{name}={value}".encode())
        if size > MAX_ENV_BYTES:
            raise InvalidSubmission(
                f"extra_envs[{name!r}]", f"is longer than {MAX_ENV_BYTES} bytes"
            )
        total += size
    if total > MAX_ENVS_BYTES:
        raise InvalidSubmission("extra_envs", f"takes {total} bytes, of at most {MAX_ENVS_BYTES}")
    return dict(extra_envs)


def is_storable_text(text: Any) -> bool:
    """Whether every supported database can hold `text`, or be asked for it."""
    return isinstance(text, str) and not _unstorable(text)


def _check_values(field: str, root: Mapping[str, Any]) -> None:
    # A stack of our own: recursion would end at whatever depth the interpreter has left.
    pending: list[tuple[Any, str, int]] = [(root, field, 0)]
    while pending:
        value, path, depth = pending.pop()
        if depth > MAX_PARAMS_DEPTH:
            raise InvalidSubmission(
                field, f"is nested deeper than {MAX_PARAMS_DEPTH} levels, at {path[:80]}"
            )
        if isinstance(value, str):
            if reason := _unstorable(value):
                raise InvalidSubmission(path, f"holds {reason}")
        elif value is None or isinstance(value, int):
            continue
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise InvalidSubmission(path, f"must be finite, which {value} is not")
        elif isinstance(value, Mapping):
            for key, item in value.items():
                if not isinstance(key, str):
                    raise InvalidSubmission(path, f"has the key {_shorten(key)}, not a string")
                if reason := _unstorable(key):
                    raise InvalidSubmission(path, f"has a key that holds {reason}")
                pending.append((item, f"{path}.{key}", depth + 1))
        elif isinstance(value, (list, tuple)):
            pending.extend((item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value))
        else:
            raise InvalidSubmission(path, f"is {_json_type(value)}, which JSON cannot hold")


def _check_names(function: Callable[..., Any], params: dict[str, Any]) -> None:
    accepted = [
        p
        for p in inspect.signature(function).parameters.values()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    names = [p.name for p in accepted]
    if missing := [p.name for p in accepted if p.default is p.empty and p.name not in params]:
        raise InvalidSubmission(
            f"params.{missing[0]}",
            f"is required: the job takes {names} and was not given {missing}",
        )
    takes_any = any(
        p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values()
    )
    if not takes_any and (unknown := [name for name in params if name not in names]):
        raise InvalidSubmission(
            f"params.{unknown[0][:80]}", f"is not a parameter of this job, which takes {names}"
        )


def _check_types(function: Callable[..., Any], params: dict[str, Any]) -> None:
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        # Annotations that only a type checker can resolve promise nothing here.
        return
    signature = inspect.signature(function).parameters
    for name, value in params.items():
        if name not in hints or name not in signature:
            continue
        if value is None and signature[name].default is None:
            continue
        if not _fits(value, hints[name]):
            raise InvalidSubmission(
                f"params.{name}", f"must be {_describe(hints[name])}, not {_json_type(value)}"
            )


def _fits(value: Any, hint: Any) -> bool:
    """Whether a JSON value fits an annotation. One that JSON has no word for always fits."""
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in arguments)
    if origin is type(None):
        return value is None
    if origin in (str, bool):
        return isinstance(value, origin)
    if origin is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if origin is list:
        return isinstance(value, (list, tuple)) and (
            not arguments or all(_fits(item, arguments[0]) for item in value)
        )
    if origin is dict:
        return isinstance(value, Mapping) and (
            len(arguments) != 2 or all(_fits(item, arguments[1]) for item in value.values())
        )
    return True


def _encode(params: dict[str, Any]) -> str:
    try:
        return json.dumps(params, allow_nan=False)
    except (TypeError, ValueError) as e:
        raise InvalidSubmission("params", f"cannot be written as JSON: {e}") from e


def _unstorable(text: str) -> str | None:
    if "\x00" in text:
        return "a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "a lone surrogate, which is not text"
    return None


_JSON_TYPES = (
    (bool, "a boolean"),
    (str, "a string"),
    (int, "an integer"),
    (float, "a number"),
    (type(None), "null"),
    ((list, tuple), "an array"),
    (Mapping, "an object"),
)


def _json_type(value: Any) -> str:
    return next(
        (words for kind, words in _JSON_TYPES if isinstance(value, kind)),
        f"a {type(value).__name__}",
    )


def _describe(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def _shorten(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:
        # Python writes no integer of more than 4300 digits.
        return "this value"
    return text if len(text) <= 80 else f"{text[:77]}..."
