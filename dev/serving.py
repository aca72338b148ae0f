"""Start, watch and stop a real `mlflow server`, and find every process that it brought along."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_MARK = "MLFLOW_DEV_SERVER_MARK"
_ACCESS = ' HTTP/1.1" '
_POLL_SECONDS = 0.1
_OWN = ("MLFLOW_JOBS_BASE", "MLFLOW_JOBS_CACHE")


class ServerFailed(RuntimeError):
    """The server did not come up, or went away."""


def free_port() -> int:
    """Returns a TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Returns this process's environment without variables that change MLflow, plus `extra`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _OWN or not name.startswith(("MLFLOW_", "_MLFLOW_", "PYTHONPATH"))
    }
    return kept | dict(extra or {})


class Server:
    """One `mlflow server` process tree with its data below one directory.

    Args:
        directory: Where the server runs; its default SQLite store and its log are made there.
        python: The interpreter whose MLflow is served.
        env: Variables beside the cleaned environment.
        args: Further options of `mlflow server`.
        port: TCP port on the loopback interface; a free one when None.
    """

    def __init__(
        self,
        directory: Path,
        *,
        python: str = sys.executable,
        env: Mapping[str, str] | None = None,
        args: Sequence[str] = ("--workers", "1"),
        port: int | None = None,
    ) -> None:
        self.directory = directory
        self.port = port or free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.log_path = directory / "server.log"
        self._mark = uuid.uuid4().hex
        self._env = clean_environment(env) | {_MARK: self._mark}
        self._command = [
            *(python, "-m", "mlflow", "server"),
            *("--host", "127.0.0.1", "--port", str(self.port)),
            *args,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Server":
        try:
            self.start()
            self.wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        """Spawns the server in a session of its own, so that signals reach it only from here."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.directory,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_ready(self, timeout_seconds: float = 180.0) -> None:
        """Returns once the server answers.

        Raises:
            ServerFailed: It exited, or did not answer in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            self.require_alive()
            if self._answers():
                return
            time.sleep(_POLL_SECONDS)
        raise ServerFailed(f"The server did not answer within {timeout_seconds:.0f} s.")

    def require_alive(self) -> None:
        """Raises ServerFailed when the server process has ended."""
        code = self._process.poll() if self._process else None
        if code is not None:
            raise ServerFailed(f"The server ended with exit code {code}.\n{self.tail()}")

    def stop(self, timeout_seconds: float = 60.0) -> None:
        """Ends the server in order; whatever is left after the timeout is killed."""
        self.terminate(timeout_seconds)
        self.kill()

    def terminate(self, timeout_seconds: float = 60.0) -> int | None:
        """Asks the server to end (SIGTERM) and waits.

        Returns:
            The exit code of `mlflow server`; None when it never ran or did not end in time.
        """
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """Ends every process of the server at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def processes(self) -> dict[int, list[str]]:
        """Returns pid -> command line of all live processes started by this server (Linux).

        Those that were started with an empty environment are found by their parent.
        """
        mark = f"{_MARK}={self._mark}".encode()
        commands, parents, found = {}, {}, set()
        for entry in Path("/proc").glob("[0-9]*"):
            pid = int(entry.name)
            try:
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
                # The command in parentheses may hold blanks.
                parents[pid] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if mark in (entry / "environ").read_bytes():
                    found.add(pid)
            except OSError:
                continue
            if command:
                commands[pid] = command.strip("\0").split("\0")
        while children := {pid for pid in commands if parents[pid] in found} - found:
            found |= children
        return {pid: commands[pid] for pid in commands if pid in found}

    def log(self) -> str:
        """Returns everything the server has printed."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def tail(self, lines: int = 40) -> str:
        """Returns the last lines of the server's log, those about single requests left out."""
        told = [line for line in self.log().splitlines() if _ACCESS not in line]
        return "\n".join(told[-lines:])

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Sends JSON and returns (status, parsed answer or its text); 4xx and 5xx are answers."""
        request = urllib.request.Request(
            self.address + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, _parsed(response.read())
        except urllib.error.HTTPError as error:
            return error.code, _parsed(error.read())

    def submit_job(self, job_name: str, params: dict[str, Any]) -> str:
        """Submits a job over HTTP and returns its id."""
        status, job = self.request(
            "POST", "/ajax-api/3.0/jobs/", {"job_name": job_name, "params": params}
        )
        if status != 200:
            raise ServerFailed(f"Submitting {job_name} was answered with {status}: {job}")
        return job["job_id"]

    def wait_for_job(self, job_id: str, timeout_seconds: float = 120.0) -> dict[str, Any]:
        """Polls a job over HTTP until its state is terminal and returns it."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            self.require_alive()
            _, job = self.request("GET", f"/ajax-api/3.0/jobs/{job_id}")
            if job["status"] not in ("PENDING", "RUNNING", "NEEDS_RECOVERY"):
                return job
            time.sleep(_POLL_SECONDS)
        raise ServerFailed(f"Job {job_id} is still {job['status']}.\n{self.tail()}")

    def _answers(self) -> bool:
        try:
            return self.request("GET", "/health")[0] == 200
        except (OSError, http.client.HTTPException):
            return False


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
