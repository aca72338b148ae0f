"""All that a job token opens, as one table. Keeps I8: what is not in it is refused.

A row says how the resources of a request are found, and which permission on each of them the job
must have been granted. Paths are those below `/api` and `/ajax-api`, or of the gateway.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mlflow.protos.model_registry_pb2 import (
    GetModelVersion,
    GetModelVersionByAlias,
    GetRegisteredModel,
)
from mlflow.protos.service_pb2 import (
    BatchGetTraceInfos,
    BatchGetTraces,
    GetTrace,
    SearchTraces,
    SearchTracesV3,
)
from mlflow.server.jobs.remote.requested import (
    Asked,
    Resource,
    endpoint_in_body,
    endpoint_in_path,
    experiments_in,
    itself,
    locations_in,
    nothing,
    prompt_in,
    trace_in_argument,
    trace_in_path,
    traces_in,
)


@dataclass(frozen=True)
class AllowedRoute:
    """One row.

    Attributes:
        method: HTTP method; HEAD and OPTIONS are allowed nowhere.
        path: Path template, without the prefix of the API and of the server.
        find: The resources that a request asks for. It may touch all of them.
        permission: What the job needs on each.
        live: Whether the claim has to live; False only for a report that may be a repeated one.
    """

    method: str
    path: str
    find: Callable[[Asked], Iterable[Resource]]
    permission: str = "READ"
    live: bool = True

    @property
    def in_workspace(self) -> bool:
        """Whether it touches a workspace, which has to be that of the job."""
        return self.find not in (nothing, itself)


# Flask routes, below /api or /ajax-api.
REST_ROUTES = (
    AllowedRoute("GET", "/3.0/mlflow/traces/get", traces_in(GetTrace, "trace_id")),
    AllowedRoute("GET", "/3.0/mlflow/traces/batchGet", traces_in(BatchGetTraces, "trace_ids")),
    AllowedRoute(
        "POST", "/3.0/mlflow/traces/batchGetInfos", traces_in(BatchGetTraceInfos, "trace_ids")
    ),
    AllowedRoute("POST", "/3.0/mlflow/traces/search", locations_in(SearchTracesV3)),
    AllowedRoute("GET", "/2.0/mlflow/traces", experiments_in(SearchTraces)),
    AllowedRoute("GET", "/3.0/mlflow/traces/{trace_id}", trace_in_path("trace_id")),
    AllowedRoute("GET", "/2.0/mlflow/traces/{request_id}/info", trace_in_path("request_id")),
    AllowedRoute("GET", "/2.0/mlflow/get-trace-artifact", trace_in_argument("request_id")),
    AllowedRoute("GET", "/3.0/mlflow/get-trace-artifact", trace_in_argument("request_id")),
    AllowedRoute(
        "GET",
        "/3.0/mlflow/traces/{trace_id}/assessments/{assessment_id}",
        trace_in_path("trace_id"),
    ),
    AllowedRoute(
        "POST", "/3.0/mlflow/traces/{trace_id}/assessments", trace_in_path("trace_id"), "EDIT"
    ),
    AllowedRoute(
        "PATCH",
        "/3.0/mlflow/traces/{trace_id}/assessments/{assessment_id}",
        trace_in_path("trace_id"),
        "EDIT",
    ),
    # A prompt is a registered model with a tag.
    AllowedRoute("GET", "/2.0/mlflow/registered-models/get", prompt_in(GetRegisteredModel)),
    AllowedRoute("GET", "/2.0/mlflow/registered-models/alias", prompt_in(GetModelVersionByAlias)),
    AllowedRoute("GET", "/2.0/mlflow/model-versions/get", prompt_in(GetModelVersion)),
    # Public without any login, and asked for by every client.
    AllowedRoute("GET", "/3.0/mlflow/server-info", nothing),
)

# FastAPI routes; the order is that of the router, which takes the first that fits.
NATIVE_ROUTES = (
    AllowedRoute("POST", "/api/3.0/jobs/{job_id}/result", itself, live=False),
    AllowedRoute("POST", "/ajax-api/3.0/jobs/{job_id}/result", itself, live=False),
    AllowedRoute("POST", "/api/3.0/jobs/{job_id}/progress", itself),
    AllowedRoute("POST", "/ajax-api/3.0/jobs/{job_id}/progress", itself),
    AllowedRoute("POST", "/gateway/{endpoint_name}/mlflow/invocations", endpoint_in_path, "USE"),
    AllowedRoute("POST", "/gateway/mlflow/v1/chat/completions", endpoint_in_body, "USE"),
    AllowedRoute("POST", "/gateway/openai/v1/chat/completions", endpoint_in_body, "USE"),
    AllowedRoute("POST", "/gateway/openai/v1/embeddings", endpoint_in_body, "USE"),
    AllowedRoute("POST", "/gateway/typesafe/v1/systemone", endpoint_in_body, "USE"),
    AllowedRoute("POST", "/gateway/openai/v1/responses", endpoint_in_body, "USE"),
    AllowedRoute("POST", "/gateway/openai/v1/responses/compact", endpoint_in_body, "USE"),
    AllowedRoute("POST", "/gateway/anthropic/v1/messages", endpoint_in_body, "USE"),
    AllowedRoute(
        "POST",
        "/gateway/gemini/v1beta/models/{endpoint_name}:generateContent",
        endpoint_in_path,
        "USE",
    ),
    AllowedRoute(
        "POST",
        "/gateway/gemini/v1beta/models/{endpoint_name}:streamGenerateContent",
        endpoint_in_path,
        "USE",
    ),
    AllowedRoute("POST", "/gateway/proxy/{endpoint_name}/{path:path}", endpoint_in_path, "USE"),
    AllowedRoute("GET", "/api/3.0/mlflow/server-info", nothing),
    AllowedRoute("GET", "/ajax-api/3.0/mlflow/server-info", nothing),
)
