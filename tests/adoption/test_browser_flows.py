"""What people do in MLflow's own pages works, also when the runner dies in the middle."""

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.adoption import job_places
from tests.adoption.browser import PolledJob, chromium, picture, visitor
from tests.adoption.job_material import ENDPOINT
from tests.adoption.job_places import Place
from tests.adoption.servers import wait_for

pytestmark = pytest.mark.servers

# Short enough for a recovery within seconds, long enough for a busy machine.
_SERVER = {"MLFLOW_SERVER_JOB_LEASE_TTL": "10", "MLFLOW_SERVER_SCHEDULER_LEASE_TTL": "8"}
_RUNNING = ("PENDING", "RUNNING")
# Long, since the machine may be busy; nothing waits longer than what it waits for.
_PATIENCE_SECONDS = 180


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def place(browser, tmp_path_factory) -> Iterator[Place]:
    with job_places.open_place(tmp_path_factory.mktemp("seen"), _SERVER) as place:
        yield place


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Where screenshots go: TEST_SCREENSHOTS, or pytest's own directory."""
    return Path(os.environ.get("TEST_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))


@pytest.fixture
def page(browser, place, pictures, request) -> Iterator[Page]:
    with visitor(browser, place.caller.server.address, pictures, request.node.name) as page:
        yield page


@pytest.fixture(scope="module", autouse=True)
def switched_on(browser, place, pictures) -> str:
    """The judge that is switched on first of all; the leader looks for its traces each minute."""
    name = "arriving"
    _register(place, name)
    address = place.caller.server.address
    with visitor(browser, address, pictures, "a judge is switched on") as page:
        page.goto(f"/#/experiments/{place.made['experiment']}/judges")
        page.get_by_role("button", name="Edit").click()
        form = page.get_by_role("dialog", name="Edit judge")
        _unfold(form, "Automatic evaluation")
        # The form of a judge that never ran may show it as switched on; only a change is saved.
        form.get_by_role("switch").uncheck()
        form.get_by_role("switch").check()
        form.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Evaluating traces: ON")).to_be_visible()
    return name


def test_a_judge_is_tried_on_traces_and_created(place, page, pictures):
    polled = PolledJob(page)
    page.goto(f"/#/experiments/{place.made['experiment']}/judges")
    page.get_by_role("button", name="New LLM judge").click()
    form = page.get_by_role("dialog", name="Create LLM judge")
    form.get_by_role("textbox", name="Name").fill("kindness")
    _unfold(form, "Automatic evaluation")
    form.get_by_role("switch").uncheck()
    _unfold(form, "Evaluation criteria")
    form.get_by_role("textbox", name="Instructions").fill("Is {{ outputs }} kind?")
    form.get_by_role("combobox").filter(has_text="Select an endpoint").click()
    page.get_by_role("option", name=ENDPOINT).click()
    form.get_by_role("button", name="Select traces").click()
    traces = page.get_by_role("dialog", name="Select traces")
    traces.get_by_role("checkbox", name="Select all").check(force=True)
    traces.get_by_role("button", name="Select (3)").click()

    job_id = _submitted_by(page, form.get_by_role("button", name="Run judge"))
    expect(form.get_by_text("The stub says so.")).to_be_visible()
    expect(form.get_by_role("status").filter(has_text="False")).to_be_in_viewport()
    picture(page, pictures, "a judge that was tried on traces")
    shown = polled.answers(job_id)[-1]
    assert (shown["status"], shown["result"]) == ("SUCCEEDED", place.caller.job(job_id)["result"])
    assert sorted(shown["result"]) == sorted(place.made["traces"])

    form.get_by_role("button", name="Create judge").click()
    expect(form).to_be_hidden()
    expect(page.get_by_role("heading", name="kindness")).to_be_visible()
    expect(page.get_by_text("Evaluating traces: OFF")).to_be_visible()
    assert "kindness" in _registered(place)


def test_a_judge_that_is_run_on_traces_survives_its_runner(place, page, pictures):
    _register(place, "steady")
    polled = PolledJob(page)
    page.goto(f"/#/experiments/{place.made['experiment']}/traces")
    page.get_by_role("checkbox", name="Select all traces on this page").check()
    page.get_by_role("button").filter(has_text="Actions (3)").click()
    page.get_by_role("menuitem", name="Run scorers").click()
    choice = page.get_by_role("dialog", name="Run judge on 3 traces")
    choice.get_by_role("checkbox", name="steady").check()
    running = page.get_by_text('Running judge "steady"')

    with place.stub.silence:
        job_id = _submitted_by(page, choice.get_by_role("button", name="Run judge"))
        wait_for(lambda: _claims(place, job_id) == 1, "the job's first claim", _PATIENCE_SECONDS)
        expect(running).to_be_visible()
        os.kill(place.runner(), signal.SIGKILL)
        wait_for(lambda: _claims(place, job_id) == 2, "the job's recovery", _PATIENCE_SECONDS)
        told = len(polled.answers(job_id))
        _look_until(page, lambda: len(polled.answers(job_id)) > told, "the page asked again")
        expect(running).to_be_visible()
        picture(page, pictures, "a judge whose runner was killed")

    expect(running).to_be_hidden()
    answers = polled.answers(job_id)
    page.reload()
    expect(page.get_by_role("columnheader", name="steady")).to_be_in_viewport()
    for trace in place.made["traces"]:
        row = page.get_by_role("row", name=f"Select trace {trace}")
        expect(row.get_by_role("status").filter(has_text="Yes").last).to_be_in_viewport()
    statuses = [answer["status"] for answer in answers]
    assert statuses[-1] == "SUCCEEDED"
    assert set(statuses[:-1]) <= set(_RUNNING)
    seen = place.caller.feedback(place.made["experiment"], "steady")
    assert seen == place.one_yes_for_each_trace()


def test_an_issue_detection_is_cancelled(place, page, pictures):
    polled = PolledJob(page)
    page.goto(f"/#/experiments/{place.made['experiment']}/traces")
    with place.stub.silence:
        job_id, run_id = _detect(page)
        wait_for(
            lambda: place.caller.job(job_id)["status"] == "RUNNING",
            "the job runs",
            _PATIENCE_SECONDS,
        )
        page.goto(f"/#/experiments/{place.made['experiment']}/issues")
        expect(page.get_by_text("Detecting issues...")).to_be_in_viewport()
        picture(page, pictures, "an issue detection that is under way")
        page.get_by_role("button", name="Cancel detection").click()
        sure = page.get_by_role("dialog", name="Cancel issue detection")
        sure.get_by_role("button", name="Cancel detection").click()
        expect(page.get_by_text("Detecting issues...")).to_be_hidden()
    assert place.caller.job(job_id)["status"] == "CANCELED"
    wait_for(lambda: _status(place, run_id) == "KILLED", "the run's end", _PATIENCE_SECONDS)
    assert {answer["status"] for answer in polled.answers(job_id)} <= {*_RUNNING, "CANCELED"}


def test_an_issue_detection_is_started_and_followed_to_its_findings(place, page, pictures):
    polled = PolledJob(page)
    page.goto(f"/#/experiments/{place.made['experiment']}/traces")
    with place.stub.silence:
        job_id, run_id = _detect(page)
        expect(page.get_by_text("Issue detection started")).to_be_visible()
        first_call = "Verifying configuration..."
        _look_until(page, lambda: first_call in polled.stages(job_id), "the stage of that call")
        expect(page.get_by_role("button", name="Cancel detection")).to_be_visible()
        picture(page, pictures, "an issue detection at its first stage")
    expect(page.get_by_text("Issue detection completed")).to_be_visible()
    assert polled.stages(job_id)[-1] == "Generating summary..."
    assert polled.answers(job_id)[-1]["status"] == "SUCCEEDED"

    page.goto(f"/#/experiments/{place.made['experiment']}/issues/runs")
    expect(page.get_by_role("row").filter(has_text="Finished")).to_have_count(1)
    page.goto(f"/#/experiments/{place.made['experiment']}/issues")
    expect(page.get_by_text("1 result")).to_be_visible()
    body = {"experiment_id": place.made["experiment"], "max_results": 100}
    (issue,) = place.caller.ask("POST", "/api/3.0/mlflow/issues/search", body)["issues"]
    assert issue["source_run_id"] == run_id
    expect(page.get_by_role("heading", name=issue["name"], exact=True)).to_be_visible()
    assert _status(place, run_id) == "FINISHED"


def test_assessments_of_a_judge_that_is_switched_on_arrive(place, page, switched_on):
    experiment = place.made["experiment"]

    def arrived() -> bool:
        return len(place.caller.feedback(experiment, switched_on)) == len(place.made["traces"])

    wait_for(arrived, "assessments by the leader's job", _PATIENCE_SECONDS)
    assert place.caller.feedback(experiment, switched_on) == place.one_yes_for_each_trace()
    page.goto(f"/#/experiments/{experiment}/traces")
    expect(page.get_by_role("columnheader", name=switched_on)).to_be_in_viewport()
    for trace in place.made["traces"]:
        row = page.get_by_role("row", name=f"Select trace {trace}")
        expect(row.get_by_role("status").filter(has_text="Yes").first).to_be_in_viewport()


def _register(place: Place, name: str) -> None:
    body = {
        "experiment_id": place.made["experiment"],
        "name": name,
        "serialized_scorer": place.judge(name),
    }
    place.caller.ask("POST", "/api/3.0/mlflow/scorers/register", body)


def _registered(place: Place) -> set[str]:
    path = f"/api/3.0/mlflow/scorers/list?experiment_id={place.made['experiment']}"
    return {scorer["scorer_name"] for scorer in place.caller.ask("GET", path)["scorers"]}


def _unfold(form: Locator, section: str) -> None:
    """Opens a section of a form. By keyboard: sections slide, and a click may hit the next one."""
    button = form.get_by_role("button", name=section)
    button.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")


def _submitted_by(page: Page, button: Locator) -> str:
    with page.expect_response("**/mlflow/scorer/invoke") as answer:
        button.click()
    (job,) = answer.value.json()["jobs"]
    return job["job_id"]


def _detect(page: Page) -> tuple[str, str]:
    """Starts an issue detection on all traces of the page and returns its job and its run."""
    page.get_by_role("button", name="Detect issues in traces").click()
    with page.expect_response("**/mlflow/issues/invoke") as answer:
        page.get_by_role("button", name="Run Analysis").click()
    submitted = answer.value.json()
    return submitted["job_id"], submitted["run_id"]


def _look_until(page: Page, condition: Callable[[], bool], what: str) -> None:
    """Lets the page live until the condition holds."""
    for _ in range(_PATIENCE_SECONDS * 10):
        if condition():
            return
        page.wait_for_timeout(100)
    pytest.fail(f"{what}: not within {_PATIENCE_SECONDS} s")


def _claims(place: Place, job_id: str) -> int:
    """How often the job was claimed; HTTP does not tell."""
    file = place.caller.server.directory / "mlflow.db"
    with closing(sqlite3.connect(file)) as database:
        query = "SELECT fence FROM jobs WHERE id = ? AND status = 1"
        return sum(fence for (fence,) in database.execute(query, [job_id]))


def _status(place: Place, run_id: str) -> str:
    return place.caller.run(run_id)["info"]["status"]
