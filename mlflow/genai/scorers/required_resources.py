"""What a custom scorer says that it needs of the server, kept in its serialized form.

What code will ask for cannot be told without running it. A scorer that runs away from the server is
therefore granted what its author declared; the server reads that and nothing more.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from mlflow.exceptions import MlflowException

DECLARATION = "required_resources"

ResourceType = Literal["gateway_endpoint", "prompt"]

_SCHEMES = {"gateway_endpoint": "gateway:/", "prompt": "prompts:/"}


@dataclass(frozen=True)
class RequiredResource:
    """Something on the MLflow server that a custom `@scorer` reads or calls.

    Attributes:
        type: `gateway_endpoint`, which the scorer then may call, or `prompt`, which it may read.
        identifier: The endpoint's name, with or without `gateway:/`; or the prompt's name, or a
            `prompts:/` URI, whose version counts for nothing: the whole prompt may be read.
    """

    type: ResourceType
    identifier: str

    def __post_init__(self) -> None:
        if self.type not in get_args(ResourceType):
            raise MlflowException.invalid_parameter_value(
                f"A required resource is of type {' or '.join(_SCHEMES)}, not {self.type!r}."
            )
        if not isinstance(self.identifier, str) or not self.name.strip():
            raise MlflowException.invalid_parameter_value(
                f"A required resource of type {self.type!r} must be identified by its name or URI, "
                f"which {self.identifier!r} is not."
            )

    @property
    def name(self) -> str:
        """The name of the endpoint or prompt, without scheme and version."""
        if not self.identifier.startswith(_SCHEMES[self.type]):
            return self.identifier
        path = self.identifier.partition(":")[2].lstrip("/")
        return path if self.type == "gateway_endpoint" else _without_version(path)


def checked(declared: Iterable[RequiredResource] | None) -> tuple[RequiredResource, ...] | None:
    """The argument `required_resources` of `@scorer`. None declares nothing; `()`, no need.

    Raises:
        MlflowException: It is anything but `RequiredResource`s.
    """
    if declared is None:
        return None
    if not isinstance(declared, (tuple, list)) or not all(
        isinstance(resource, RequiredResource) for resource in declared
    ):
        raise MlflowException.invalid_parameter_value(
            f"{DECLARATION} must be a tuple of RequiredResource, not {declared!r}."
        )
    return tuple(declared)


def with_declaration(
    serialized: dict[str, Any], declared: Iterable[RequiredResource] | None
) -> dict[str, Any]:
    """A scorer's serialized form with its declaration.

    Without one there is no trace of it either: to an MLflow that does not know the key it would be
    an error, and the digest of every scorer would change.
    """
    if declared is None:
        return serialized
    return {**serialized, DECLARATION: [asdict(resource) for resource in declared]}


def declared_in(serialized: Any) -> tuple[RequiredResource, ...] | None:
    """Read the declaration of a serialized scorer, a mapping or an object; None if it has none.

    Raises:
        MlflowException: It has one that is not a list of types and identifiers.
    """
    if isinstance(serialized, dict):
        declared = serialized.get(DECLARATION)
    else:
        declared = getattr(serialized, DECLARATION, None)
    if declared is None:
        return None
    if not isinstance(declared, list):
        raise MlflowException.invalid_parameter_value(f"{DECLARATION} must be a list.")
    return tuple(map(_read, declared))


def _read(entry: Any) -> RequiredResource:
    if not isinstance(entry, dict) or entry.keys() != {"type", "identifier"}:
        raise MlflowException.invalid_parameter_value(
            f"Each of {DECLARATION} must have a type and an identifier."
        )
    return RequiredResource(**entry)


def _without_version(path: str) -> str:
    # A prompt's name holds no slash, but it may hold an @.
    for separator in "/@":
        if separator in path:
            return path.rpartition(separator)[0]
    return path
