"""What a runner and a job process tell each other: variables, files, and one result.

Job containers and the environments of `python_env` jobs run MLflow 3.18.0 from the package index,
so the names here, the JSON of the result and the list of transient error classes are a wire
contract with that release. Only the parameters' file and the fence are additions.
"""

import importlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from mlflow.environment_variables import _MLFLOW_SERVER_JOB_ID, _MLFLOW_SERVER_JOB_NAME
from mlflow.server.jobs.functions import TransientError

_JOB_ENTRY_MODULE = "mlflow.server.jobs._job_subproc_entry"
_JOB_ENV_SETUP_MODULE = "mlflow.server.jobs._job_env_setup"

MLFLOW_SERVER_JOB_NAME_ENV_VAR = _MLFLOW_SERVER_JOB_NAME.name
MLFLOW_SERVER_JOB_ID_ENV_VAR = _MLFLOW_SERVER_JOB_ID.name
MLFLOW_SERVER_JOB_FENCE_ENV_VAR = "_MLFLOW_SERVER_JOB_FENCE"
MLFLOW_SERVER_JOB_PARAMS_ENV_VAR = "_MLFLOW_SERVER_JOB_PARAMS"
MLFLOW_SERVER_JOB_PARAMS_PATH_ENV_VAR = "_MLFLOW_SERVER_JOB_PARAMS_PATH"
MLFLOW_SERVER_JOB_FUNCTION_FULLNAME_ENV_VAR = "_MLFLOW_SERVER_JOB_FUNCTION_FULLNAME"
MLFLOW_SERVER_JOB_RESULT_DUMP_PATH_ENV_VAR = "_MLFLOW_SERVER_JOB_RESULT_DUMP_PATH"
MLFLOW_SERVER_JOB_TRANSIENT_ERROR_CLASSES_PATH_ENV_VAR = (
    "_MLFLOW_SERVER_JOB_TRANSIENT_ERROR_CLASSES_PATH"
)
MLFLOW_ORIGINAL_PARENT_PID_ENV_VAR = "_MLFLOW_ORIGINAL_PARENT_PID"

_MAX_ERROR_CHARS = 64_000


class UnusableResult(ValueError):
    """A job function returned something that cannot be kept as its result."""


@dataclass
class _SubprocessJobResult:
    """How the function of a job process ended.

    Attributes:
        succeeded: Whether it returned.
        result: JSON text of what it returned.
        is_transient_error: Whether its failure asks for a retry.
        error: Its failure, in words.
    """

    succeeded: bool
    result: str | None = None
    is_transient_error: bool | None = None
    error: str | None = None

    @classmethod
    def from_value(cls, value: Any) -> "_SubprocessJobResult":
        """The result of a function that returned `value`.

        Raises:
            UnusableResult: `value` is not plain, finite JSON.
        """
        return cls(succeeded=True, result=encode_result(value))

    @classmethod
    def from_error(
        cls,
        e: BaseException,
        transient_error_classes: list[type[Exception]] | None = None,
    ) -> "_SubprocessJobResult":
        """The result of a function that raised `e`."""
        if isinstance(e, TransientError):
            return cls(succeeded=False, is_transient_error=True, error=_describe(e.origin_error))
        return cls(
            succeeded=False,
            is_transient_error=type(e) in (transient_error_classes or []),
            error=_describe(e),
        )

    def dump(self, path: str) -> None:
        """Write the result; it appears at `path` whole or not at all."""
        unfinished = f"{path}.part"
        with open(unfinished, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
        os.replace(unfinished, path)

    @classmethod
    def load(cls, path: str) -> "_SubprocessJobResult":
        """Read a result.

        Raises:
            FileNotFoundError: There is none.
            UnusableResult: It cannot be read, or holds what cannot be kept.
        """
        try:
            with open(path, encoding="utf-8") as file:
                loaded = cls(**json.load(file))
        except FileNotFoundError:
            raise
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise UnusableResult(f"the result file cannot be read: {error}") from error
        if loaded.result is not None:
            check_result(loaded.result)
        if loaded.error is not None:
            loaded.error = clean_text(loaded.error)
        return loaded


def encode_result(value: Any) -> str:
    """The JSON text to store for what a job function returned.

    Raises:
        UnusableResult: `value` is not plain, finite JSON that every database and client can hold.
    """
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UnusableResult(
            f"the job function returned a value that is not plain JSON: {error}"
        ) from error
    _check_characters(text)
    return text


def check_result(text: str) -> None:
    """Check JSON text that another MLflow release encoded.

    Raises:
        UnusableResult: It is not plain, finite JSON that every database and client can hold.
    """
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except (TypeError, ValueError, RecursionError) as error:
        raise UnusableResult(
            f"the job function returned a value that is not plain JSON: {error}"
        ) from error
    _check_characters(text)


def clean_text(text: str) -> str:
    """`text` with what no database or client can hold written out, and its length bounded."""
    text = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    if len(text) > _MAX_ERROR_CHARS:
        left_out = len(text) - _MAX_ERROR_CHARS
        text = f"{text[:_MAX_ERROR_CHARS]}... ({left_out} characters left out)"
    return text


def write_error_classes(path: str, classes: Iterable[type[Exception]] | None) -> None:
    """Write the transient error classes, one dotted path a line."""
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{cls.__module__}.{cls.__name__}\n" for cls in classes or [])


def read_error_classes(path: str) -> list[type[Exception]]:
    """Import the classes that `write_error_classes` named."""
    with open(path, encoding="utf-8") as file:
        names = file.read().split()
    paths = [name.rpartition(".") for name in names]
    return [getattr(importlib.import_module(module), name) for module, _, name in paths]


# In JSON text of ASCII characters, every backslash starts one of these.
_ESCAPE = re.compile(
    r"""\\(?:
        u(?P<nul>0000)
      | u[dD][89abAB]..\\u[dD][c-fC-F]..
      | u(?P<lone>[dD][89a-fA-F]..)
      | .
    )""",
    re.VERBOSE,
)


def _check_characters(text: str) -> None:
    if "\\" in text:
        for escape in _ESCAPE.finditer(text):
            if escape["nul"]:
                raise UnusableResult("the job function returned text with a NUL character")
            if escape["lone"]:
                raise UnusableResult("the job function returned text with half a surrogate pair")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UnusableResult(
                "the job function returned text with half a surrogate pair"
            ) from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _describe(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"The job function called sys.exit({error.code!r}) instead of returning."
    if isinstance(error, UnusableResult):
        text = str(error)
        return clean_text(f"{text[:1].upper()}{text[1:]}.")
    try:
        return clean_text(repr(error))
    except Exception:  # noqa: BLE001 - repr of a job's own exception class
        return type(error).__name__
