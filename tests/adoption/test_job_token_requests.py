"""I8 over HTTP: what a job token opens on a real server, and that it opens nothing else."""

import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from mlflow.entities._job import JobScopedPermission
from mlflow.store.jobs.values import ClaimedJob
from tests.adoption.job_material import ENDPOINT
from tests.adoption.remote_places import RemotePlace, remote_place, token_headers

pytestmark = pytest.mark.servers

_API = "/api/3.0/mlflow"
_API_2 = "/api/2.0/mlflow"
_MESSAGES = [{"role": "user", "content": "Hello?"}]
_FEEDBACK = {
    "assessment_name": "by_token",
    "source": {"source_type": "CODE", "source_id": "test"},
    "create_time": "2026-01-01T00:00:00Z",
    "last_update_time": "2026-01-01T00:00:00Z",
    "feedback": {"value": "fine"},
}
_PROVIDERS_WILL = None


@dataclass(frozen=True)
class Opened:
    """A request that a grant opens.

    Attributes:
        needs: The permission without which it is refused.
        method: Of the request.
        path: Answers its path, given the place and the id of the trace it is about.
        body: Answers its body.
        status: With which it is answered; `_PROVIDERS_WILL` where that is the model's affair.
    """

    needs: str
    method: str
    path: Callable[[RemotePlace, str], str]
    body: Callable[[RemotePlace, str], Any] = lambda place, trace: None
    status: int | None = 200


def at(path: str) -> Callable[[RemotePlace, str], str]:
    return lambda place, trace: path.format(
        trace=trace, experiment=place.made["experiment"], assessment=place.made["assessment"]
    )


def search_of(experiment_id: str) -> dict[str, Any]:
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment_id}}
    return {"locations": [place]}


def to_model(path: str, status: int | None = 200, **body: Any) -> Opened:
    body = {"messages": _MESSAGES, **body}
    return Opened("endpoint", "POST", at(path), lambda *_: body, status)


OPENED = {
    "a trace": Opened("read", "GET", at(_API + "/traces/{trace}")),
    "a trace with its spans": Opened("read", "GET", at(_API + "/traces/get?trace_id={trace}")),
    "a trace as the UI asks": Opened("read", "GET", at("/ajax-api/3.0/mlflow/traces/{trace}")),
    "a trace as old clients ask": Opened("read", "GET", at(_API_2 + "/traces/{trace}/info")),
    "traces": Opened(
        "read", "GET", at(_API + "/traces/batchGet?trace_ids={trace}&trace_ids={trace}")
    ),
    "infos of traces": Opened(
        "read",
        "POST",
        at(_API + "/traces/batchGetInfos"),
        lambda place, trace: {"trace_ids": [trace]},
    ),
    "a search of traces": Opened(
        "read",
        "POST",
        at(_API + "/traces/search"),
        lambda place, trace: search_of(place.made["experiment"]),
    ),
    "a search as old clients ask": Opened(
        "read", "GET", at(_API_2 + "/traces?experiment_ids={experiment}")
    ),
    "the data of a trace": Opened(
        "read", "GET", at("/ajax-api/2.0/mlflow/get-trace-artifact?request_id={trace}")
    ),
    "an assessment": Opened(
        "read", "GET", lambda place, trace: place.made["assessment"].format(api=_API)
    ),
    "a new assessment": Opened(
        "edit",
        "POST",
        at(_API + "/traces/{trace}/assessments"),
        lambda place, trace: {"assessment": _FEEDBACK | {"trace_id": trace}},
    ),
    "a changed assessment": Opened(
        "edit",
        "PATCH",
        lambda place, trace: place.made["assessment"].format(api=_API),
        lambda place, trace: {"assessment": {"rationale": "why not"}, "update_mask": "rationale"},
    ),
    "a prompt": Opened("prompt", "GET", at(_API_2 + "/registered-models/get?name=greeting")),
    "a version of a prompt": Opened(
        "prompt", "GET", at(_API_2 + "/model-versions/get?name=greeting&version=1")
    ),
    "a prompt by its alias": Opened(
        "prompt", "GET", at(_API_2 + "/registered-models/alias?name=greeting&alias=live")
    ),
    "a model": to_model("/gateway/mlflow/v1/chat/completions", model=ENDPOINT),
    "a model by its path": to_model(f"/gateway/{ENDPOINT}/mlflow/invocations"),
    "a model in its own words": to_model("/gateway/openai/v1/chat/completions", model=ENDPOINT),
    "embeddings": to_model("/gateway/openai/v1/embeddings", None, model=ENDPOINT, input="x"),
    "responses": to_model("/gateway/openai/v1/responses", None, model=ENDPOINT, input="x"),
    "compaction": to_model("/gateway/openai/v1/responses/compact", None, model=ENDPOINT),
    "another provider's model": to_model("/gateway/anthropic/v1/messages", None, model=ENDPOINT),
    "a decision": to_model("/gateway/typesafe/v1/systemone", None, model=ENDPOINT),
    "a model in its path": to_model(
        f"/gateway/gemini/v1beta/models/{ENDPOINT}:generateContent", None
    ),
    "a model that streams": to_model(
        f"/gateway/gemini/v1beta/models/{ENDPOINT}:streamGenerateContent", None
    ),
    "a provider's own path": to_model(f"/gateway/proxy/{ENDPOINT}/chat/completions", None),
}

REFUSED = {
    "experiments": ("POST", _API_2 + "/experiments/search", {"max_results": 5}),
    "a new experiment": ("POST", _API_2 + "/experiments/create", {"name": "by token"}),
    "its own experiment": ("GET", _API_2 + "/experiments/get?experiment_id={experiment}", None),
    "a tag of its experiment": (
        "POST",
        _API_2 + "/experiments/set-experiment-tag",
        {"experiment_id": "{experiment}", "key": "k", "value": "v"},
    ),
    "a new run": ("POST", _API_2 + "/runs/create", {"experiment_id": "{experiment}"}),
    "runs": ("POST", _API_2 + "/runs/search", {"experiment_ids": ["{experiment}"]}),
    "a new trace": ("POST", _API + "/traces", {}),
    "a tag of a trace": ("PATCH", _API + "/traces/{trace}/tags", {"key": "k", "value": "v"}),
    "the end of traces": (
        "POST",
        _API + "/traces/delete-traces",
        {"experiment_id": "{experiment}", "request_ids": ["{trace}"]},
    ),
    "the end of an assessment": ("DELETE", _API + "/traces/{trace}/assessments/a-1", None),
    "figures of traces": ("POST", _API + "/traces/metrics", {"experiment_ids": ["{experiment}"]}),
    "spans": ("POST", "/v1/traces", {}),
    "registered models": ("GET", _API_2 + "/registered-models/search", None),
    "versions of models": ("GET", _API_2 + "/model-versions/search", None),
    "a new prompt": ("POST", _API_2 + "/registered-models/create", {"name": "other"}),
    "a changed prompt": (
        "POST",
        _API_2 + "/registered-models/alias",
        {"name": "greeting", "alias": "a", "version": "1"},
    ),
    "gateway secrets": ("GET", _API + "/gateway/secrets/list", None),
    "gateway endpoints": ("GET", _API + "/gateway/endpoints/list", None),
    "models of the gateway": ("GET", "/gateway/mlflow/v1/models", None),
    "scorers": ("GET", _API + "/scorers/list?experiment_id={experiment}", None),
    "a scorer's run": ("POST", "/ajax-api/3.0/mlflow/scorer/invoke", {}),
    "artifacts": ("GET", _API_2 + "-artifacts/artifacts", None),
    "webhooks": ("GET", _API_2 + "/webhooks", None),
    "graphs": ("POST", "/graphql", {"query": "{{ __typename }}"}),
    "jobs": ("POST", "/ajax-api/3.0/jobs/search", {}),
    "another job": ("POST", "/ajax-api/3.0/jobs/", {"job_name": "remote_add", "params": {}}),
    "its own row": ("GET", "/ajax-api/3.0/jobs/{job}", None),
    "its own cancellation": ("PATCH", "/ajax-api/3.0/jobs/cancel/{job}", None),
    "its own row, elsewhere": ("GET", "/ajax-api/3.0/mlflow/jobs/{job}", None),
    "another job's progress": ("POST", "/api/3.0/jobs/another/progress", {"message": "x"}),
    "another job's result": ("POST", "/api/3.0/jobs/another/result", {"status": "SUCCEEDED"}),
    "the assistant": ("GET", "/ajax-api/3.0/mlflow/assistant/config", None),
    "the UI": ("GET", "/", None),
    "a path that is not there": ("GET", "/nowhere", None),
}


@pytest.fixture(scope="module", params=["open", "guarded"])
def place(request, tmp_path_factory) -> Iterator[RemotePlace]:
    directory = tmp_path_factory.mktemp(request.param)
    with remote_place(directory, guarded=request.param == "guarded") as place:
        body = {"assessment": _FEEDBACK | {"trace_id": place.made["traces"][0]}}
        path = f"/traces/{place.made['traces'][0]}/assessments"
        made = place.admin.ask("POST", _API + path, body)["assessment"]["assessment_id"]
        place.made["assessment"] = f"{{api}}{path}/{made}"
        alias = {"name": "greeting", "alias": "live", "version": "1"}
        place.admin.ask("POST", _API_2 + "/registered-models/alias", alias)
        place.admin.ask("POST", _API_2 + "/registered-models/create", {"name": "model"})
        yield place


def whole_grant(place: RemotePlace) -> dict[str, JobScopedPermission]:
    return {
        "edit": JobScopedPermission("experiment", place.made["experiment"], None, "EDIT"),
        "endpoint": JobScopedPermission("gateway_endpoint", ENDPOINT, None, "USE"),
        "prompt": JobScopedPermission("prompt", "greeting", None, "READ"),
    }


@pytest.fixture(scope="module")
def granted(place) -> ClaimedJob:
    """A live job that was granted all that these tests know of."""
    return place.claim_by_hand([*whole_grant(place).values()])


@pytest.fixture(scope="module")
def lacking(place) -> dict[str, ClaimedJob]:
    """Live jobs, each granted all but one thing."""
    whole = whole_grant(place)
    read = JobScopedPermission("experiment", place.made["experiment"], None, "READ")
    foreign = JobScopedPermission("experiment", place.made["watched"], None, "EDIT")
    other = JobScopedPermission("gateway_endpoint", "other", None, "USE")
    readable = JobScopedPermission("gateway_endpoint", ENDPOINT, None, "READ")
    model = JobScopedPermission("registered_model", "greeting", None, "EDIT")
    return {
        "read": place.claim_by_hand([whole["endpoint"], whole["prompt"], foreign]),
        "edit": place.claim_by_hand([whole["endpoint"], whole["prompt"], read, foreign]),
        "endpoint": place.claim_by_hand([whole["edit"], whole["prompt"], other, readable]),
        "prompt": place.claim_by_hand([whole["edit"], whole["endpoint"], model]),
    }


@pytest.mark.parametrize("asked", OPENED.values(), ids=OPENED)
def test_a_grant_opens_what_it_names_and_its_lack_does_not(place, granted, lacking, asked):
    trace = place.made["traces"][0]
    path, body = asked.path(place, trace), asked.body(place, trace)

    refusal = place.send(lacking[asked.needs], asked.method, path, body)
    assert refusal.status_code == 403, refusal.text
    answer = place.send(granted, asked.method, path, body)
    if asked.status is _PROVIDERS_WILL:
        assert answer.status_code not in (401, 403), answer.text
    else:
        assert answer.status_code == asked.status, answer.text


def test_to_read_is_enough_for_those_who_only_read(place, lacking):
    path = f"{_API}/traces/{place.made['traces'][0]}"
    assert place.send(lacking["edit"], "GET", path).status_code == 200


@pytest.mark.parametrize(("method", "path", "body"), REFUSED.values(), ids=REFUSED)
def test_a_job_token_opens_no_other_route(place, granted, method, path, body):
    names = {
        "experiment": place.made["experiment"],
        "trace": place.made["traces"][0],
        "job": granted.claim.job_id,
    }
    filled = json.loads(_filled(json.dumps(body), names))

    answer = place.send(granted, method, path.format(**names), filled, auth=place.admin.credentials)

    assert answer.status_code == 403, answer.text


def _filled(text: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def test_one_trace_of_another_experiment_closes_the_whole_request(place, granted):
    mine, foreign = place.made["traces"][0], place.made["watched_traces"][0]
    own, other = place.made["experiment"], place.made["watched"]
    requests_of_both = [
        ("GET", f"{_API}/traces/batchGet?trace_ids={mine}&trace_ids={foreign}", None),
        ("GET", f"{_API}/traces/batchGet?trace_ids={foreign}&experiment_ids={own}", None),
        ("GET", f"{_API}/traces/{foreign}", None),
        ("POST", f"{_API}/traces/batchGetInfos", {"trace_ids": [mine, foreign]}),
        ("POST", f"{_API}/traces/batchGetInfos", {"traceIds": [foreign]}),
        (
            "POST",
            f"{_API}/traces/batchGetInfos",
            {"trace_ids": [foreign], "experiment_ids": [own]},
        ),
        (
            "POST",
            f"{_API}/traces/{foreign}/assessments",
            {"assessment": _FEEDBACK | {"trace_id": mine}},
        ),
        ("POST", f"{_API}/traces/search", search_of(other)),
        ("POST", f"{_API}/traces/search", {"locations": []}),
        ("POST", f"{_API}/traces/search", {}),
        ("GET", f"{_API_2}/traces?experiment_ids={own}&experiment_ids={other}", None),
        ("GET", f"{_API_2}/registered-models/get?name=model", None),
        ("GET", f"{_API_2}/registered-models/get", None),
    ]
    for method, path, body in requests_of_both:
        answer = place.send(granted, method, path, body)
        assert answer.status_code == 403, (path, body, answer.text)


def test_a_model_that_is_registered_under_the_name_of_a_granted_prompt_stays_closed(place):
    job = place.claim_by_hand([JobScopedPermission("prompt", "model", None, "EDIT")])
    answer = place.send(job, "GET", f"{_API_2}/registered-models/get?name=model")
    assert answer.status_code == 403


def test_a_body_that_cannot_be_read_is_refused_as_such(place, granted):
    url = place.server.address + "/gateway/mlflow/v1/chat/completions"
    headers = token_headers(granted.claim.job_id, granted.token)
    assert requests.post(url, data=b"{", headers=headers, timeout=60).status_code == 400
    answer = place.send(granted, "POST", f"{_API}/traces/search", {"locations": 5})
    assert answer.status_code == 400


ROUTES_OF_BOTH_KINDS = {
    "served by Flask": lambda place, job: f"{_API}/traces/{place.made['traces'][0]}",
    "native": lambda place, job: f"/api/3.0/jobs/{job.claim.job_id}/progress",
}


@pytest.fixture(params=ROUTES_OF_BOTH_KINDS.values(), ids=ROUTES_OF_BOTH_KINDS)
def raw(request, place) -> Callable[[ClaimedJob, list[tuple[str, str]]], int]:
    """Sends these very headers to a route that the job's token opens; answers the status."""

    def send(job: ClaimedJob, headers: list[tuple[str, str]]) -> int:
        path = request.param(place, job)
        method, body = ("GET", b"") if "traces" in path else ("POST", b'{"message": "x"}')
        connection = http.client.HTTPConnection("127.0.0.1", place.server.port, timeout=60)
        connection.putrequest(method, path)
        for name, value in [("Content-Type", "application/json"), *headers]:
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        with connection.getresponse() as response:
            return response.status

    return send


def test_a_token_is_shown_whole_once_and_with_its_own_job(place, granted, lacking, raw):
    job_id, token = token_headers(granted.claim.job_id, granted.token).items()
    other = place.claim_by_hand([*whole_grant(place).values()])
    others = token_headers(other.claim.job_id, other.token)["X-MLflow-Job-Token"]

    assert raw(granted, [job_id, token]) == 200
    for headers in (
        [job_id],
        [token],
        [job_id, token, token],
        [job_id, job_id, token],
        [job_id, (token[0], "")],
        [job_id, (token[0], token[1] + "x")],
        [job_id, (token[0], f"{token[1]},{token[1]}")],
        [job_id, (token[0], others)],
        [("X-MLflow-Job-Id", "nobody"), token],
        [("X-MLflow-Job-Id", "x" * 300), token],
    ):
        assert raw(granted, headers) == 401, headers


def test_a_user_who_may_do_all_is_refused_with_a_bad_token(place, granted):
    headers = token_headers(granted.claim.job_id, "guessed")
    for path in (f"{_API_2}/experiments/get?experiment_id=0", "/ajax-api/3.0/jobs/x", "/health"):
        answer = requests.get(
            place.server.address + path, headers=headers, auth=place.admin.credentials, timeout=60
        )
        assert answer.status_code == 401, path


def test_a_token_lives_through_recovery_and_ends_with_its_job(place, raw):
    job = place.claim_by_hand([*whole_grant(place).values()])
    headers = [*token_headers(job.claim.job_id, job.token).items()]
    place.store.abandon([job.claim])
    assert raw(job, headers) == 200
    place.store.cancel_job(job.claim.job_id)
    assert raw(job, headers) == 401


def test_server_info_is_public_with_a_live_token_too(place, granted):
    assert place.send(granted, "GET", f"{_API}/server-info").status_code == 200


def test_users_do_not_report_for_jobs(place, granted):
    job_id = granted.claim.job_id
    for path in (f"/api/3.0/jobs/{job_id}/result", f"/ajax-api/3.0/jobs/{job_id}/result"):
        status, _ = place.admin.request("POST", path, {"status": "SUCCEEDED"})
        assert status in (401, 403)
    assert place.store.get_job(job_id).status.name == "RUNNING"
