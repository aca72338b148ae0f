"""A real server, driven over HTTP as the built UI drives it."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from mlflow.store.jobs.dialects import TextLimit

pytestmark = pytest.mark.skipif(os.name == "nt", reason="jobs do not run on Windows")

START_SECONDS = 120
JOB_SECONDS = 60
JOBS = ["add", "fail", "hold", "flaky"]

# What a client of 3.18 finds in a job, and what is added.
JOB_FIELDS = {
    "job_id",
    "creation_time",
    "job_name",
    "params",
    "timeout",
    "status",
    "result",
    "error_message",
    "retry_count",
    "last_update_time",
    "status_details",
    "creator",
    "status_message",
    "progress",
    "progress_updated_at",
    # Not in 3.18.
    "crashes",
}


class Server:
    """A running `mlflow server`."""

    def __init__(self, port: int, process: subprocess.Popen, huey_imports: Path) -> None:
        self.jobs = f"http://127.0.0.1:{port}/ajax-api/3.0/jobs"
        self.address = f"http://127.0.0.1:{port}"
        self.process = process
        self.huey_imports = huey_imports

    def submit(self, job_name: str, params: dict[str, Any], **fields: Any) -> dict[str, Any]:
        body = {"job_name": job_name, "params": params, **fields}
        return answered(requests.post(f"{self.jobs}/", json=body, timeout=30))

    def get(self, job_id: str) -> dict[str, Any]:
        return answered(requests.get(f"{self.jobs}/{job_id}", timeout=30))

    def search(self, **criteria: Any) -> dict[str, Any]:
        return answered(requests.post(f"{self.jobs}/search", json=criteria, timeout=30))

    def poll(self, job_id: str) -> tuple[dict[str, Any], list[str]]:
        """Poll until the job has ended. Returns it, and every status seen on the way."""
        seen: list[str] = []

        def ended() -> dict[str, Any] | None:
            found = self.get(job_id)
            if not seen or seen[-1] != found["status"]:
                seen.append(found["status"])
            return None if found["status"] in ("PENDING", "RUNNING") else found

        return eventually(ended), seen


def answered(response: requests.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return response.json()


def eventually(look: Callable[[], Any], seconds: float = JOB_SECONDS) -> Any:
    """What `look` returns as soon as that is true. Other processes give no event to wait for."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"{look.__qualname__}: nothing within {seconds} s")
        time.sleep(0.1)
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    huey_imports = directory / "huey_imports"
    bait = directory / "bait"
    bait.mkdir()
    (bait / "huey.py").write_text(f"open({str(huey_imports)!r}, 'w')\nraise ImportError\n")
    path = [str(bait), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "_MLFLOW_SUPPORTED_JOB_FUNCTION_LIST": ",".join(f"endpoint_jobs.{j}" for j in JOBS),
        "_MLFLOW_ALLOWED_JOB_NAME_LIST": ",".join(f"endpoint_{j}" for j in JOBS),
        "MLFLOW_SERVER_JOB_TRANSIENT_ERROR_RETRY_BASE_DELAY": "0",
        "MLFLOW_SERVER_JOB_TRANSIENT_ERROR_MAX_RETRIES": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{directory / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(directory / "artifacts")]
    with (directory / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            env=env,
            cwd=directory,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

        def healthy() -> bool:
            assert process.poll() is None, (directory / "server.log").read_text()[-5000:]
            try:
                return requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok
            except requests.ConnectionError:
                return False

        try:
            eventually(healthy, START_SECONDS)
            yield Server(port, process, huey_imports)
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            finally:
                # Whatever is left of the group, also of a server that would not stop.
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass


@pytest.fixture(scope="module")
def added(server) -> dict[str, Any]:
    """A job that has succeeded, as the server's last answer showed it."""
    submitted = server.submit("endpoint_add", {"x": 3, "y": 4}, timeout=300)
    assert submitted["status"] == "PENDING"
    assert set(submitted) == JOB_FIELDS
    ended, seen = server.poll(submitted["job_id"])
    assert set(seen) <= {"PENDING", "RUNNING", "SUCCEEDED"}
    return ended


def test_a_submitted_job_runs_and_is_polled_to_its_success(added):
    assert added["status"] == "SUCCEEDED"
    assert added["result"] == {"sum": 7}
    assert added["params"] == {"x": 3, "y": 4}
    assert added["timeout"] == 300
    assert added["error_message"] is None
    assert added["retry_count"] == 0
    assert set(added) == JOB_FIELDS


def test_both_panels_of_the_ui_see_the_same_job(server, added):
    panel = answered(
        requests.get(f"{server.address}/ajax-api/3.0/mlflow/jobs/{added['job_id']}", timeout=30)
    )
    assert panel["status"] == "SUCCEEDED"
    assert panel["result"] == {"sum": 7}


def test_a_search_finds_a_job_by_its_params_and_status(server, added):
    found = server.search(params={"x": 3, "y": 4}, statuses=["SUCCEEDED", "FAILED"])
    assert found == {"jobs": [added], "next_page_token": None}
    assert server.search(params={"x": 3, "y": 4}, statuses=["FAILED"])["jobs"] == []


def test_a_job_that_raises_fails_with_its_error(server):
    ended, _ = server.poll(server.submit("endpoint_fail", {"reason": "no such trace"})["job_id"])
    assert ended["status"] == "FAILED"
    assert "ValueError" in ended["error_message"]
    assert "no such trace" in ended["error_message"]
    # The built UI reads the words here.
    assert ended["result"] == ended["error_message"]


def test_a_transient_failure_is_retried_until_it_succeeds(server, tmp_path):
    params = {"attempts_file": str(tmp_path / "attempts"), "failures": 1}
    ended, _ = server.poll(server.submit("endpoint_flaky", params)["job_id"])
    assert ended["status"] == "SUCCEEDED"
    assert ended["result"] == 2
    assert ended["retry_count"] == 1


def test_a_transient_failure_that_stays_fails_after_the_last_retry(server, tmp_path):
    attempts = tmp_path / "attempts"
    params = {"attempts_file": str(attempts), "failures": 99}
    ended, _ = server.poll(server.submit("endpoint_flaky", params)["job_id"])
    assert ended["status"] == "FAILED"
    assert "not yet" in ended["error_message"]
    assert len(attempts.read_text()) == 2


def test_canceling_a_running_job_ends_its_process(server, tmp_path):
    pid_file = tmp_path / "pid"
    job_id = server.submit("endpoint_hold", {"pid_file": str(pid_file)})["job_id"]
    pid = int(eventually(lambda: pid_file.exists() and pid_file.read_text()))
    assert is_alive(pid)

    canceled = answered(requests.patch(f"{server.jobs}/cancel/{job_id}", timeout=30))

    assert canceled["status"] == "CANCELED"
    eventually(lambda: not is_alive(pid))
    assert server.get(job_id)["status"] == "CANCELED"
    again = requests.patch(f"{server.jobs}/cancel/{job_id}", timeout=30)
    assert again.status_code == 400
    assert "CANCELED" in again.json()["detail"]


def test_a_job_past_its_timeout_ends_as_one(server, tmp_path):
    params = {"pid_file": str(tmp_path / "pid")}
    ended, _ = server.poll(server.submit("endpoint_hold", params, timeout=1)["job_id"])
    assert ended["status"] == "TIMEOUT"


def test_the_slash_after_the_path_is_not_needed(server):
    body = {"job_name": "endpoint_add", "params": {"x": 1}}
    assert answered(requests.post(server.jobs, json=body, timeout=30))["status"] == "PENDING"


def test_params_of_a_megabyte_reach_the_job(server):
    params = {"x": 1, "note": "n" * 1_000_000}
    ended, _ = server.poll(server.submit("endpoint_add", params)["job_id"])
    assert ended["status"] == "SUCCEEDED"


def body(**fields: Any) -> str:
    return json.dumps({"job_name": "endpoint_add", "params": {"x": 1}, **fields})


def deep_json(depth: int) -> str:
    return body(params={"x": 1, "note": None}).replace("null", "[" * depth + "]" * depth)


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (body(job_name="no_such_job"), 400, "no_such_job"),
        (body(job_name=None), 422, "job_name"),
        (body(job_name=""), 400, "job name"),
        (body(job_name="a\x00b"), 400, "job_name: holds a NUL"),
        (body(job_name="\ud800"), 400, "job_name: holds a lone surrogate"),
        (body(job_name=5), 422, "job_name"),
        ('{"params": {}}', 422, "job_name"),
        ('{"job_name": "endpoint_add"}', 422, "params"),
        (body(params=None), 422, "params"),
        (body(params=[1]), 422, "params"),
        (body(params="x"), 422, "params"),
        (body(params={}), 400, "params.x: is required"),
        (body(params={"x": 1, "z": 2}), 400, "params.z: is not a parameter"),
        (body(params={"x": "1"}), 400, "params.x: must be int"),
        (body(params={"x": float("nan")}), 400, "params.x: must be finite"),
        (body(params={"x": 1, "note": float("inf")}), 400, "params.note: must be finite"),
        (body(params={"x": 1, "note": "\x00"}), 400, "params.note: holds a NUL"),
        (body(params={"x": 1, "note": "\ud800"}), 400, "params.note: holds a lone surrogate"),
        (body(params={"x": 1, "\ud800": 1}), 400, "params: has a key"),
        pytest.param(
            body(params={"x": 1, "note": "n" * TextLimit().most_bytes}),
            400,
            "`params` takes",
            id="too large",
        ),
        (deep_json(150), 400, "params: is nested deeper"),
        (deep_json(100_000), 400, "body: cannot be read as JSON"),
        (body(timeout=0), 400, "timeout: "),
        (body(timeout=-1), 400, "timeout: "),
        (body(timeout=float("nan")), 400, "timeout: "),
        (body(timeout=float("inf")), 400, "timeout: "),
        (body(timeout=1e12), 400, "timeout: "),
        (body(timeout=True), 422, "timeout"),
        (body(timeout="5"), 422, "timeout"),
        (body(timeout=[]), 422, "timeout"),
        ("", 422, "body"),
        ("not json", 422, "body"),
        ("[]", 422, "must be a JSON object"),
        ("null", 422, "must be a JSON object"),
        ('{"job_name": NaN, "params": NaN}', 422, "job_name"),
        (body(params={"x": 0}).replace("0", "1" * 5000), 400, "body: cannot be read as JSON"),
        ('{"job_name": "\udcff"}', 400, "body: cannot be read as JSON"),
    ],
)
def test_a_bad_submission_is_a_4xx_that_names_the_field_and_leaves_no_row(
    server, sent, status, words
):
    started_at = int(time.time() * 1000)
    response = requests.post(
        f"{server.jobs}/",
        # A lone surrogate that is not escaped stands for a byte that is not UTF-8.
        data=sent.encode(errors="surrogateescape"),
        headers={"Content-Type": "application/json"},
        timeout=60,
    )
    assert response.status_code == status, response.text[:2000]
    assert words in json.dumps(response.json()["detail"])
    assert len(response.content) < 2000
    assert server.search(begin_timestamp=started_at)["jobs"] == []


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_of_another_content_type_is_refused(server, content_type):
    response = requests.post(
        f"{server.jobs}/",
        data=b"\xff" + body().encode(),
        headers={"Content-Type": content_type},
        timeout=30,
    )
    assert response.status_code == 422
    assert "content type application/json" in json.dumps(response.json()["detail"])


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        ({"statuses": ["NO_SUCH"]}, 422, "statuses"),
        ({"statuses": "RUNNING"}, 422, "statuses"),
        ({"params": [1]}, 422, "params"),
        ({"params": {"x": "\x00"}}, 400, "params.x"),
        ({"params": {"x": float("nan")}}, 400, "params.x"),
        ({"job_name": "a\x00"}, 400, "job_name"),
        ({"job_name": 1}, 422, "job_name"),
        ({"creator": "a\x00"}, 400, "creator"),
        ({"max_results": 0}, 422, "max_results"),
        ({"max_results": -1}, 422, "max_results"),
        ({"max_results": 10**9}, 422, "max_results"),
        ({"page_token": "never given"}, 400, "page_token"),
        ({"page_token": "\x00"}, 400, "page_token"),
        ({"page_token": base64.urlsafe_b64encode(b'[1, "\\u0000"]').decode()}, 400, "page_token"),
        ({"page_token": base64.urlsafe_b64encode(b"[" * 99_999).decode()}, 400, "page_token"),
        ({"page_token": base64.urlsafe_b64encode(b'[%d, "a"]' % 10**30).decode()}, 400, "page_t"),
        ({"page_token": 7}, 422, "page_token"),
        ({"begin_timestamp": "yesterday"}, 422, "begin_timestamp"),
        ({"begin_timestamp": 10**30}, 422, "begin_timestamp"),
    ],
)
def test_a_bad_search_is_a_4xx_that_names_the_field(server, sent, status, words):
    response = requests.post(
        f"{server.jobs}/search",
        data=json.dumps(sent).encode(),
        headers={"Content-Type": "application/json"},
        timeout=30,
    )
    assert response.status_code == status, response.text
    assert words in json.dumps(response.json()["detail"])


@pytest.mark.parametrize("job_id", ["no-such-id", "a%00b", "%ED%A0%80", "x" * 300])
def test_an_unknown_id_is_a_404_with_a_message(server, job_id):
    for response in (
        requests.get(f"{server.jobs}/{job_id}", timeout=30),
        requests.patch(f"{server.jobs}/cancel/{job_id}", timeout=30),
        requests.post(f"{server.jobs}/{job_id}/resubmit", timeout=30),
    ):
        assert response.status_code == 404
        assert "not found" in response.json()["detail"]


def test_one_runner_stands_beside_the_web_workers_and_nothing_has_imported_huey(server):
    commands = [
        (process / "cmdline").read_bytes()
        for process in Path("/proc").iterdir()
        if process.name.isdigit() and _group_of(int(process.name)) == server.process.pid
    ]
    assert sum(b"mlflow.server.jobs.runner" in command for command in commands) == 1
    assert not server.huey_imports.exists()


def test_importing_the_server_loads_no_huey():
    code = "import sys, mlflow.server, mlflow.server.jobs.utils; print('huey' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None
