"""Judge requests that carry a job token, on their way to native FastAPI routes (I8).

Those that go on to Flask are judged there.
"""

import os
from collections.abc import Mapping

from anyio import from_thread
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.routing import Match, Mount, compile_path

from mlflow.exceptions import MlflowException
from mlflow.server.asgi_utils import get_routed_asgi_path
from mlflow.server.gateway_api import _get_request_body
from mlflow.server.handlers import STATIC_PREFIX_ENV_VAR, _get_job_store
from mlflow.server.jobs.remote.allowed_routes import NATIVE_ROUTES, AllowedRoute
from mlflow.server.jobs.remote.judge import carries_job_token, judge
from mlflow.server.jobs.remote.requested import Asked

_ROUTES = [(route, compile_path(route.path)[0]) for route in NATIVE_ROUTES]


def add_job_token_middleware(app: FastAPI) -> None:
    """Judge by job tokens what `app` serves; to be added within the workspace's middleware."""

    @app.middleware("http")
    async def judge_request(request: Request, call_next) -> Response:
        if not carries_job_token(request.headers.getlist) or not _is_native(app, request):
            return await call_next(request)
        route, path = _route(request)
        # Read only for a token that has been accepted by then.
        asked = Asked(path, body=lambda: from_thread.run(_body, request))
        try:
            job = await run_in_threadpool(
                lambda: judge(_get_job_store(), request.headers.getlist, route, asked)
            )
        except MlflowException as e:
            return Response(
                e.serialize_as_json(), e.get_http_status_code(), media_type="application/json"
            )
        request.state.job_of_token = job
        # Budgets and traces of the gateway are about the user for whom the job runs.
        request.state.username = job.creator
        return await call_next(request)

    app.state.judges_job_tokens = True


def is_left_to_judge(request: Request) -> bool:
    """Whether a job's grant will judge this request, so that no user has to be known for it."""
    judges = getattr(request.app.state, "judges_job_tokens", False)
    return judges and carries_job_token(request.headers.getlist)


def _is_native(app: FastAPI, request: Request) -> bool:
    return any(
        route.matches(request.scope)[0] is Match.FULL
        for route in app.routes
        if not isinstance(route, Mount)
    )


def _route(request: Request) -> tuple[AllowedRoute | None, Mapping[str, str]]:
    prefix = os.environ.get(STATIC_PREFIX_ENV_VAR, "").rstrip("/")
    path = get_routed_asgi_path(request).removeprefix(prefix)
    for route, pattern in _ROUTES:
        if route.method == request.method and (match := pattern.match(path)):
            return route, match.groupdict()
    return None, {}


async def _body(request: Request) -> object:
    try:
        request.state.cached_body = await _get_request_body(request)
    except HTTPException as e:
        raise MlflowException.invalid_parameter_value(f"body: {e.detail}") from e
    return request.state.cached_body
