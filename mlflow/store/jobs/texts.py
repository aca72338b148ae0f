"""Which texts a row takes on every database: refuse by field name, or repair what must be kept."""

import json
import re
from typing import Any

from mlflow.store.jobs.dialects import TextLimit
from mlflow.store.jobs.errors import FieldTooLarge, InvalidJobField, ResultTooLarge

# Small enough for every database as it is configured anywhere.
MAX_ERROR_BYTES = 256 * 1024
MAX_MESSAGE_BYTES = 32 * 1024
MAX_TREE_BYTES = 1024 * 1024


class _NotJson(Exception):
    """A constant that Python reads and JSON does not have."""


def _refuse(constant: str) -> None:
    raise _NotJson(constant)


_DECODER = json.JSONDecoder(parse_constant=_refuse)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_REPLACEMENT = "\ufffd"


def is_storable(value: str) -> bool:
    """Whether every database can hold this text, or be asked for it."""
    return isinstance(value, str) and not _UNSTORABLE.search(value)


def required(field: str, value: str | None) -> str:
    """The value itself.

    Raises:
        InvalidJobField: There is none.
    """
    if value is None:
        raise InvalidJobField(field, "is required")
    return value


def storable(field: str, value: str | None, limit: int | None = None) -> str | None:
    """The value itself, once it is sure that every database takes it.

    Args:
        field: Name that the error gives.
        value: The text.
        limit: Most characters that the column takes.

    Raises:
        InvalidJobField: Not text, a NUL, a lone surrogate, or too long.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidJobField(field, "is not text")
    if _UNSTORABLE.search(value):
        raise InvalidJobField(field, "contains a NUL character or a lone surrogate")
    if limit is not None and len(value) > limit:
        raise InvalidJobField(field, f"is longer than {limit} characters")
    return value


def storable_json(
    field: str,
    value: str | None,
    limit: TextLimit,
    too_large: type[FieldTooLarge] = FieldTooLarge,
) -> str | None:
    """A JSON text that other readers of JSON accept; a text that is not JSON passes as it is.

    Raises:
        FieldTooLarge: More than the database takes.
        InvalidJobField: NaN or an infinity in it, or not `storable`.
    """
    storable(field, value)
    if value is None:
        return None
    if (size := limit.size_of(value)) > limit.most_bytes:
        raise too_large(field, size, limit.most_bytes, limit.setting)
    try:
        _DECODER.decode(value)
    except _NotJson as error:
        raise InvalidJobField(field, f"contains {error}, which JSON does not have") from None
    except (ValueError, RecursionError):
        pass
    return value


def storable_result(value: str | None, limit: TextLimit) -> str | None:
    """The result as `storable_json`.

    Raises:
        ResultTooLarge: More than the database takes.
        InvalidJobField: See `storable_json`.
    """
    return storable_json("result", value, limit, ResultTooLarge)


def storable_message(field: str, value: str | None) -> str | None:
    """A `storable` text of at most `MAX_MESSAGE_BYTES` in UTF-8.

    Raises:
        InvalidJobField: Otherwise.
    """
    storable(field, value)
    if value is not None and len(value.encode()) > MAX_MESSAGE_BYTES:
        raise InvalidJobField(field, f"takes more than {MAX_MESSAGE_BYTES} bytes")
    return value


def storable_tree(field: str, value: Any) -> Any:
    """Lists and dicts that become JSON of at most `MAX_TREE_BYTES`.

    Raises:
        InvalidJobField: Otherwise, or NaN, an infinity, a type without a JSON form, or text not
            `storable`.
    """
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        leaves = json.loads(text, object_pairs_hook=lambda pairs: [x for y in pairs for x in y])
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidJobField(field, f"is not valid JSON ({error})") from None
    _each_text(field, leaves)
    if len(text.encode()) > MAX_TREE_BYTES:
        raise InvalidJobField(field, f"takes more than {MAX_TREE_BYTES} bytes")
    return value


def repaired(error: str) -> str:
    """An error text that can be stored: its failure to be stored must not keep a job running."""
    text = _UNSTORABLE.sub(_REPLACEMENT, str(error))
    return text.encode()[:MAX_ERROR_BYTES].decode(errors="ignore")


def shortened(error: str) -> str:
    """A `repaired` text that fits a status message."""
    return repaired(error).encode()[:MAX_MESSAGE_BYTES].decode(errors="ignore")


def _each_text(field: str, tree: Any) -> None:
    pending = [tree]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            storable(field, item)
        elif isinstance(item, list):
            pending += item
