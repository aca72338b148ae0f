"""What a remote workload sends, and what it makes of the answers."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import mlflow
from mlflow.entities._job import JobProgress
from mlflow.entities._job_status import JobStatus
from mlflow.genai.utils.gateway_utils import get_gateway_litellm_config
from mlflow.server.jobs.executor import JobExecutionContext, JobResult
from mlflow.server.jobs.remote.reporter import Reporter
from mlflow.server.jobs.remote.workload_environment import workload_environment
from mlflow.tracking.request_header.registry import resolve_request_headers

TOKEN = "s3cret-t0ken"
SUCCESS = JobResult(JobStatus.SUCCEEDED, result='{"a": 1}')


class Answers:
    """A server that answers what the test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.asked: list[tuple[str, dict, dict]] = []


@pytest.fixture
def answers(monkeypatch):
    answers = Answers()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answers.asked.append((self.path, dict(self.headers), body))
            answer = b'{"detail": "these words"}'
            self.send_response(answers.statuses.pop(0))
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="answers", daemon=True)
    thread.start()
    context = JobExecutionContext(
        "job-1", f"http://127.0.0.1:{server.server_port}", token=TOKEN, workspace=None
    )
    for name, value in workload_environment("sample", "jobs.sample", {}, context).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(context.tracking_uri)
    yield answers
    mlflow.set_tracking_uri(before)
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def reporter(answers) -> Reporter:
    return Reporter("job-1")


def test_a_result_goes_to_the_job_with_its_token(answers, reporter):
    answers.statuses = [200]
    assert reporter.report(SUCCESS)
    [(path, headers, body)] = answers.asked
    assert path == "/api/3.0/jobs/job-1/result"
    assert (headers["X-MLflow-Job-Id"], headers["X-MLflow-Job-Token"]) == ("job-1", TOKEN)
    assert (body["status"], body["result"]) == ("SUCCEEDED", '{"a": 1}')


def test_a_report_is_repeated_until_a_server_that_is_away_is_back(answers, reporter):
    answers.statuses = [503, 502, 200]
    assert reporter.report(SUCCESS)
    assert len(answers.asked) == 3


@pytest.mark.parametrize("statuses", [[401], [403], [409], [503, 503, 503]])
def test_a_report_that_the_server_does_not_take_is_not_taken(answers, reporter, statuses, caplog):
    answers.statuses = [*statuses]
    assert not reporter.report(SUCCESS)
    assert len(answers.asked) == len(statuses)
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("status", [400, 422])
def test_a_result_that_cannot_be_kept_becomes_a_failure_that_says_so(answers, reporter, status):
    answers.statuses = [status, 200]
    assert reporter.report(SUCCESS)
    body = answers.asked[1][2]
    assert (body["status"], body["result"]) == ("FAILED", None)
    assert "these words" in body["error_message"]


def test_progress_that_cannot_be_told_harms_no_job(answers, reporter, caplog):
    answers.statuses = [503, 401, 200]
    reporter.update_job_progress("half", JobProgress("scoring", 1, 2))
    reporter.update_job_progress("most")
    reporter.update({"a": 1})
    reporter.update_job_progress()
    assert [body for _, _, body in answers.asked] == [
        {"message": "half", "progress": {"phase": "scoring", "completed": 1, "total": 2}},
        {"message": "most"},
        {"status_details": {"a": 1}},
    ]
    assert TOKEN not in caplog.text


def test_a_server_that_is_gone_takes_no_report(reporter, monkeypatch, caplog):
    mlflow.set_tracking_uri("http://127.0.0.1:1")
    assert not reporter.report(SUCCESS)
    reporter.update({"a": 1})
    assert TOKEN not in caplog.text


@pytest.mark.usefixtures("answers")
def test_every_request_of_a_workload_shows_its_token_and_so_do_those_to_its_models():
    shown = {"X-MLflow-Job-Id": "job-1", "X-MLflow-Job-Token": TOKEN}
    assert shown.items() <= resolve_request_headers().items()
    assert get_gateway_litellm_config("chat").extra_headers == shown


@pytest.mark.parametrize("missing", ["MLFLOW_JOB_TOKEN", "_MLFLOW_SERVER_JOB_ID"])
def test_a_process_that_lacks_token_or_job_shows_neither(answers, monkeypatch, missing):
    monkeypatch.delenv(missing)
    assert not [name for name in resolve_request_headers() if name.startswith("X-MLflow-Job")]
    assert not (get_gateway_litellm_config("chat").extra_headers or {}).get("X-MLflow-Job-Id")


def test_the_environment_of_a_workload_says_who_and_where_it_is():
    context = JobExecutionContext(
        "job-1",
        "http://tracking",
        token=TOKEN,
        workspace="team",
        extra_envs={"KEY": "k", "MLFLOW_TRACKING_URI": "http://elsewhere"},
    )
    env = workload_environment("sample", "jobs.sample", {"x": 1}, context)
    assert env == {
        "KEY": "k",
        "MLFLOW_TRACKING_URI": "http://tracking",
        "MLFLOW_GATEWAY_URI": "http://tracking",
        "MLFLOW_JOB_TOKEN": TOKEN,
        "MLFLOW_WORKSPACE": "team",
        "_MLFLOW_SERVER_JOB_ID": "job-1",
        "_MLFLOW_SERVER_JOB_NAME": "sample",
        "_MLFLOW_SERVER_JOB_FUNCTION_FULLNAME": "jobs.sample",
        "_MLFLOW_SERVER_JOB_PARAMS": '{"x": 1}',
    }
    by_file = workload_environment("sample", "jobs.sample", {"x": 1}, context, "/in/params.json")
    assert by_file["_MLFLOW_SERVER_JOB_PARAMS_PATH"] == "/in/params.json"
    assert "_MLFLOW_SERVER_JOB_PARAMS" not in by_file
