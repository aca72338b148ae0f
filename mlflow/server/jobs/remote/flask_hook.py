"""Judge requests that carry a job token, on their way to the Flask handlers (I8).

It runs before any user auth, which then leaves the request alone.
"""

import os
import re

from flask import Response, g, request

from mlflow.exceptions import MlflowException
from mlflow.server.handlers import (
    STATIC_PREFIX_ENV_VAR,
    _get_job_store,
    _get_request_message,
)
from mlflow.server.jobs.remote.allowed_routes import REST_ROUTES, AllowedRoute
from mlflow.server.jobs.remote.judge import carries_job_token, judge
from mlflow.server.jobs.remote.requested import Asked

_ROUTES = {(route.method, route.path): route for route in REST_ROUTES}
_API = re.compile(r"/(?:ajax-)?api(?=/\d\.\d/)")
_PARAMETER = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")


def judge_request() -> Response | None:
    """Refuse a request that its job token does not open; a `before_request` function."""
    header_values = request.headers.getlist
    if not carries_job_token(header_values):
        return None
    asked = Asked(request.view_args or {}, _message, request.args.get)
    try:
        g.job_of_token = judge(_get_job_store(), header_values, _route(), asked)
    except MlflowException as e:
        return Response(
            e.serialize_as_json(), e.get_http_status_code(), mimetype="application/json"
        )
    return None


def is_judged() -> bool:
    """Whether the grant of a job has opened the request of this moment."""
    return "job_of_token" in g


def _route() -> AllowedRoute | None:
    if request.url_rule is None:
        return None
    path = request.url_rule.rule.removeprefix(os.environ.get(STATIC_PREFIX_ENV_VAR, "").rstrip("/"))
    return _ROUTES.get((request.method, _PARAMETER.sub(r"{\1}", _API.sub("", path, count=1))))


def _message(message_type):
    return _get_request_message(message_type(), raise_on_parse_error=True)
