"""Which resources a request touches, read as the handler of its route will read them.

What cannot be named, such as a search of no experiment, is the resource "", which nobody is
granted.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.server.handlers import _get_model_registry_store, _get_tracking_store

_UNNAMED = ""


@dataclass(frozen=True)
class Resource:
    """One thing that a permission may be granted on.

    Attributes:
        type: As in a grant; `job` stands for the job itself.
        identifier: As in a grant.
        also: Answers another identifier of the same thing, if it has one.
    """

    type: str
    identifier: str
    also: Callable[[], str | None] = field(default=lambda: None, compare=False)


@dataclass(frozen=True)
class Asked:
    """What a request says.

    Attributes:
        path: The values in its path.
        message: Reads a protobuf message as the handler does; raises if it cannot be read.
        argument: Reads one argument of its query.
        body: Reads its JSON.
    """

    path: Mapping[str, str]
    message: Callable[[type[Message]], Message] | None = None
    argument: Callable[[str], str | None] | None = None
    body: Callable[[], Any] | None = None


Find = Callable[[Asked], Iterable[Resource]]


def nothing(asked: Asked) -> Iterable[Resource]:
    """No resource at all."""
    return ()


def itself(asked: Asked) -> Iterable[Resource]:
    """The job that the path names."""
    return [Resource("job", asked.path["job_id"])]


def traces_in(message_type: type[Message], field_name: str) -> Find:
    """The experiments that own the traces which the message names."""

    def find(asked: Asked) -> Iterable[Resource]:
        value = getattr(asked.message(message_type), field_name)
        return _owners([value] if isinstance(value, str) else list(value))

    return find


def trace_in_path(name: str) -> Find:
    """The experiment that owns the trace which the path names."""
    return lambda asked: _owners([asked.path[name]])


def trace_in_argument(name: str) -> Find:
    """The experiment that owns the trace which an argument names."""
    return lambda asked: _owners([asked.argument(name) or _UNNAMED])


def experiments_in(message_type: type[Message]) -> Find:
    """The experiments that the message names."""
    return lambda asked: _experiments(asked.message(message_type).experiment_ids)


def locations_in(message_type: type[Message]) -> Find:
    """The experiments whose traces the message looks for."""

    def find(asked: Asked) -> Iterable[Resource]:
        locations = asked.message(message_type).locations
        return _experiments([each.mlflow_experiment.experiment_id for each in locations])

    return find


def prompt_in(message_type: type[Message]) -> Find:
    """The prompt that the message names; a model of that name is none."""

    def find(asked: Asked) -> Iterable[Resource]:
        name = asked.message(message_type).name
        is_prompt = name == _UNNAMED or _is_prompt(name)
        return [Resource("prompt" if is_prompt else "registered_model", name)]

    return find


def endpoint_in_path(asked: Asked) -> Iterable[Resource]:
    """The gateway endpoint that the path names."""
    return [_endpoint(asked.path["endpoint_name"])]


def endpoint_in_body(asked: Asked) -> Iterable[Resource]:
    """The gateway endpoint that the body names as its model."""
    body = asked.body()
    name = body.get("model") if isinstance(body, dict) else None
    return [_endpoint(name if isinstance(name, str) else _UNNAMED)]


def _experiments(experiment_ids: Iterable[str]) -> list[Resource]:
    return [Resource("experiment", each) for each in experiment_ids or [_UNNAMED]]


def _owners(trace_ids: list[str]) -> list[Resource]:
    # Traces that are not there have no owner, and the handler finds none of them either.
    infos = _get_tracking_store().batch_get_trace_infos(trace_ids)
    return [Resource("experiment", each) for each in {info.experiment_id for info in infos}]


def _endpoint(name: str) -> Resource:
    return Resource("gateway_endpoint", name, lambda: _endpoint_id(name))


def _endpoint_id(name: str) -> str | None:
    try:
        return _get_tracking_store().get_gateway_endpoint(name=name).endpoint_id
    except MlflowException:
        return None


def _is_prompt(name: str) -> bool:
    try:
        return _get_model_registry_store().get_registered_model(name)._is_prompt()
    except MlflowException as e:
        if e.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            # Whoever may read the prompt is told by the handler that there is none.
            return True
        raise
