"""Jobs that run elsewhere: they know the server by its address and their token, nothing more."""

import json
import time
from collections import Counter

import pytest

from mlflow.entities._job import JobScopedPermission
from mlflow.entities._job_status import JobStatus
from tests.adoption.job_material import ENDPOINT
from tests.adoption.remote_places import RemotePlace, remote_place
from tests.adoption.servers import wait_for

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with remote_place(tmp_path_factory.mktemp("open"), guarded=False) as place:
        yield place


@pytest.fixture(scope="module")
def guarded_place(tmp_path_factory):
    with remote_place(tmp_path_factory.mktemp("guarded"), guarded=True) as place:
        yield place


@pytest.fixture(params=["place", "guarded_place"])
def any_place(request):
    return request.getfixturevalue(request.param)


def ended(place: RemotePlace, job_id: str) -> dict:
    return place.admin.ended_job(job_id)


def test_a_remote_function_runs_and_reports_its_result(place):
    job = ended(place, place.create("remote_add", {"x": 1, "y": 2}, []))
    assert (job["status"], job["result"]) == ("SUCCEEDED", {"sum": 3})


def test_a_remote_function_that_fails_says_why(place):
    job = ended(place, place.create("remote_fail", {"reason": "no luck"}, []))
    assert (job["status"], job["retry_count"]) == ("FAILED", 0)
    assert "no luck" in job["error_message"]


def test_a_workload_that_ends_without_a_report_has_failed(place):
    job = ended(place, place.create("remote_vanish", {}, []))
    assert job["status"] == "FAILED"
    assert "without reporting a result" in job["error_message"]


def test_a_transient_failure_is_repeated_under_a_token_of_its_own(place, tmp_path):
    tokens_file = tmp_path / "tokens"
    job_id = place.create("remote_flaky", {"tokens_file": str(tokens_file)}, [])
    job = ended(place, job_id)

    assert (job["status"], job["result"], job["retry_count"]) == ("SUCCEEDED", "done", 1)
    first, second = tokens_file.read_text().split()
    assert first != second
    written = b"".join(path.read_bytes() for path in place.server.directory.glob("mlflow.db*"))
    for token in (first, second):
        assert token not in place.server.log()
        assert token.encode() not in written


def test_remote_progress_is_seen_while_the_job_runs(place, tmp_path):
    go = tmp_path / "go"
    job_id = place.create("remote_tell", {"go_file": str(go)}, [])
    wait_for(lambda: place.admin.job(job_id)["status_details"], "the job's words")
    job = place.admin.job(job_id)
    go.touch()

    assert (job["status"], job["status_message"]) == ("RUNNING", "half of it")
    assert job["status_details"] == {"stage": "telling"}
    assert (job["progress"]["phase"], job["progress"]["completed"]) == ("telling", 1)
    assert ended(place, job_id)["result"] == place.server.address


def test_a_remote_judge_reads_traces_asks_its_model_and_leaves_its_answers(any_place):
    place = any_place
    grant = [
        JobScopedPermission("experiment", place.made["experiment"], None, "EDIT"),
        JobScopedPermission("gateway_endpoint", ENDPOINT, None, "USE"),
    ]
    job = ended(place, place.create("invoke_scorer", _scoring(place, "granted"), grant))

    assert job["status"] == "SUCCEEDED"
    assert all(of_trace["failures"] == [] for of_trace in job["result"].values())
    seen = place.admin.feedback(place.made["experiment"], "granted")
    assert seen == Counter((trace, "yes") for trace in place.made["traces"])


def test_a_remote_judge_without_its_model_in_the_grant_is_refused_by_the_gateway(any_place):
    place = any_place
    grant = [JobScopedPermission("experiment", place.made["experiment"], None, "EDIT")]
    asked = len(place.stub.keys)
    job = ended(place, place.create("invoke_scorer", _scoring(place, "modelless"), grant))

    assert all(of_trace["failures"] for of_trace in job["result"].values())
    assert len(place.stub.keys) == asked


def test_a_remote_judge_without_its_experiment_in_the_grant_reads_nothing(place):
    grant = [JobScopedPermission("gateway_endpoint", ENDPOINT, None, "USE")]
    job = ended(place, place.create("invoke_scorer", _scoring(place, "blind"), grant))

    assert job["status"] == "FAILED"
    assert "was not granted READ of experiment" in job["error_message"]


def test_remote_success_moves_the_checkpoint_of_online_scoring(place):
    experiment = place.made["watched"]
    tag = "mlflow.latestOnlineScoring.trace.checkpoint"
    value = {"timestamp_ms": int(time.time() * 1000), "trace_id": "tr-1"}
    params = {
        "experiment_id": experiment,
        "online_scorers": [],
        "batch": [],
        "next_checkpoint": {"experiment_id": experiment, "tag": tag, "value": value},
    }
    grant = [JobScopedPermission("experiment", experiment, None, "EDIT")]
    job = ended(place, place.create("run_online_trace_scorer", params, grant))

    assert job["status"] == str(JobStatus.SUCCEEDED)
    assert json.loads(place.admin.experiment_tag(experiment, tag)) == value


def _scoring(place: RemotePlace, name: str) -> dict:
    return {
        "experiment_id": place.made["experiment"],
        "serialized_scorer": json.dumps(json.loads(place.made["judge"]) | {"name": name}),
        "trace_ids": place.made["traces"],
    }
