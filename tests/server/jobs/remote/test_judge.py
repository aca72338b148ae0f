"""I8: what a grant is worth, in which workspace, and with which headers."""

import pytest

from mlflow.entities._job import JobScopedPermission
from mlflow.server.jobs.remote.allowed_routes import NATIVE_ROUTES, REST_ROUTES, AllowedRoute
from mlflow.server.jobs.remote.judge import NotGranted, TokenNotAccepted, carries_job_token, judge
from mlflow.server.jobs.remote.requested import Asked, Resource
from mlflow.utils.workspace_context import ServerWorkspaceContext


def route(permission: str = "READ", resource: Resource | None = None) -> AllowedRoute:
    resource = resource or Resource("experiment", "7")
    return AllowedRoute("GET", "/", lambda asked: [resource], permission)


@pytest.fixture
def judged(job_store, claim_remote):
    """Judge a request of a job with this grant."""

    def judged(which: AllowedRoute | None, *grant: JobScopedPermission, **fields):
        job = claim_remote(scoped_permissions=grant, **fields)
        headers = {"X-MLflow-Job-Id": [job.claim.job_id], "X-MLflow-Job-Token": [job.token]}
        return judge(job_store, lambda name: headers.get(name, []), which, Asked({}))

    return judged


@pytest.mark.parametrize(
    ("granted", "asked", "opens"),
    [
        ("READ", "READ", True),
        ("EDIT", "READ", True),
        ("USE", "READ", True),
        ("EDIT", "USE", True),
        ("READ", "USE", False),
        ("READ", "EDIT", False),
        ("USE", "EDIT", False),
        ("MANAGE", "READ", False),
        ("", "READ", False),
    ],
)
def test_who_may_do_more_may_do_less(judged, granted, asked, opens):
    grant = JobScopedPermission("experiment", "7", None, granted)
    if opens:
        assert judged(route(asked), grant).permissions == (grant,)
    else:
        with pytest.raises(NotGranted):
            judged(route(asked), grant)


@pytest.mark.parametrize(
    "grant",
    [
        (),
        (JobScopedPermission("experiment", "8", None, "EDIT"),),
        (JobScopedPermission("experiment", "07", None, "EDIT"),),
        (JobScopedPermission("prompt", "7", None, "EDIT"),),
        (JobScopedPermission("experiment", "7", "other", "EDIT"),),
        (JobScopedPermission("experiment", "*", None, "EDIT"),),
    ],
)
def test_a_grant_is_of_one_thing(judged, grant):
    with pytest.raises(NotGranted, match="experiment '7'"):
        judged(route(), *grant)


def test_what_cannot_be_named_is_granted_to_nobody(judged):
    with pytest.raises(NotGranted):
        judged(
            route(resource=Resource("experiment", "")),
            JobScopedPermission("experiment", "", None, "EDIT"),
        )


def test_a_grant_may_name_a_thing_by_its_other_name(judged):
    grant = JobScopedPermission("gateway_endpoint", "e-1", None, "USE")
    assert judged(route("USE", Resource("gateway_endpoint", "chat", lambda: "e-1")), grant)
    with pytest.raises(NotGranted):
        judged(route("USE", Resource("gateway_endpoint", "chat", lambda: None)), grant)


def test_a_route_that_is_not_in_the_table_is_opened_by_no_grant(judged):
    with pytest.raises(NotGranted, match="no job token opens this route"):
        judged(None, JobScopedPermission("experiment", "7", None, "EDIT"))


@pytest.mark.parametrize(
    ("workspace", "opens"), [("team", True), ("other", False), ("default", False), (None, False)]
)
def test_a_token_opens_the_workspace_of_its_job_alone(judged, monkeypatch, workspace, opens):
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    grant = JobScopedPermission("experiment", "7", "team", "READ")
    with ServerWorkspaceContext(workspace):
        if opens:
            assert judged(route(), grant, workspace="team").workspace == "team"
        else:
            with pytest.raises(NotGranted, match="workspace 'team'"):
                judged(route(), grant, workspace="team")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-MLflow-Job-Id": ["{id}"]},
        {"X-MLflow-Job-Token": ["{token}"]},
        {"X-MLflow-Job-Id": ["{id}"], "X-MLflow-Job-Token": []},
        {"X-MLflow-Job-Id": ["{id}"], "X-MLflow-Job-Token": ["{token}", "{token}"]},
        {"X-MLflow-Job-Id": ["{id}", "{id}"], "X-MLflow-Job-Token": ["{token}"]},
        {"X-MLflow-Job-Id": ["{id}"], "X-MLflow-Job-Token": ["{token},{token}"]},
        {"X-MLflow-Job-Id": ["{id}"], "X-MLflow-Job-Token": [" "]},
        {"X-MLflow-Job-Id": ["{id}\0"], "X-MLflow-Job-Token": ["{token}"]},
        {"X-MLflow-Job-Id": ["nobody"], "X-MLflow-Job-Token": ["{token}"]},
        {"X-MLflow-Job-Id": ["{id}"], "X-MLflow-Job-Token": ["{token}\udc80"]},
    ],
)
def test_a_token_that_is_not_shown_properly_is_not_accepted(job_store, claim_remote, headers):
    job = claim_remote(scoped_permissions=[JobScopedPermission("experiment", "7", None, "EDIT")])
    names = {"id": job.claim.job_id, "token": job.token}
    shown = {name: [v.format(**names) for v in values] for name, values in headers.items()}

    assert carries_job_token(lambda name: shown.get(name, []))
    with pytest.raises(TokenNotAccepted) as refusal:
        judge(job_store, lambda name: shown.get(name, []), route(), Asked({}))
    assert refusal.value.get_http_status_code() == 401
    assert job.token not in str(refusal.value)


@pytest.mark.parametrize(
    "end",
    [
        lambda store, job: store.succeed(job.claim, "1"),
        lambda store, job: store.retry(job.claim, "away", 0.0),
        lambda store, job: store.cancel_job(job.claim.job_id),
    ],
    ids=["T5", "T7", "T8"],
)
@pytest.mark.parametrize("which", [route(), None], ids=["a route of the table", "another route"])
def test_a_token_whose_claim_has_ended_is_not_accepted(job_store, claim_remote, end, which):
    job = claim_remote(scoped_permissions=[JobScopedPermission("experiment", "7", None, "EDIT")])
    headers = {"X-MLflow-Job-Id": [job.claim.job_id], "X-MLflow-Job-Token": [job.token]}
    end(job_store, job)
    with pytest.raises(TokenNotAccepted, match="has ended"):
        judge(job_store, headers.__getitem__, which, Asked({}))


def test_no_row_of_the_table_opens_anything_by_a_method_that_deletes():
    for each in (*REST_ROUTES, *NATIVE_ROUTES):
        assert each.method in ("GET", "POST", "PATCH"), each


def test_every_rest_route_of_the_table_is_a_route_of_the_server():
    from mlflow.server import app

    rules = {
        (method, rule.rule.replace("<", "{").replace(">", "}"))
        for rule in app.url_map.iter_rules()
        for method in rule.methods
    }
    for each in REST_ROUTES:
        assert (each.method, "/ajax-api" + each.path) in rules, each
