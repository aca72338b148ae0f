"""One replica of a fleet: a job runner as `mlflow server` starts it, and all that it brings along.

Its server is a stand-in that does nothing but live, which is all that a runner asks of it.
"""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dev.chaos import fleet_jobs_path
from dev.serving import clean_environment

_MARK = "MLFLOW_CHAOS_REPLICA"
_READY = "Job runner "
_LOOK_SECONDS = 0.1
_WATCHDOG = b"watchdog.py"
_STAND_IN = "import signal; signal.pause()"


@dataclass(frozen=True)
class Process:
    """A live process of a replica.

    Attributes:
        pid: Its process id.
        role: `server`, `runner`, `watchdog`, `fork server`, `job` or `other`.
    """

    pid: int
    role: str


class Replica:
    """A runner with its server, started again and again on the same settings."""

    def __init__(self, name: str, uri: str, folder: Path, settings: Mapping[str, str]) -> None:
        """
        Args:
            name: Its name in logs.
            uri: The database, as this replica reaches it.
            folder: Where it runs.
            settings: Its environment variables beside those that every replica has.
        """
        self.name = name
        self.log = folder / f"{name}.log"
        self._folder = folder
        self._mark = uuid.uuid4().hex
        self._env = (
            clean_environment(settings)
            | fleet_jobs_path.served(uri)
            | {
                _MARK: self._mark,
                "PYTHONPATH": os.pathsep.join(
                    [str(fleet_jobs_path.made_in(folder)), settings.get("PYTHONPATH", "")]
                ).rstrip(os.pathsep),
                "_MLFLOW_SERVER_ARTIFACT_ROOT": str(folder),
            }
        )
        self._server: subprocess.Popen[bytes] | None = None
        self._runner: subprocess.Popen[bytes] | None = None
        self._logged = 0

    @property
    def runner_pid(self) -> int | None:
        """The process id of the runner, also of one that has just ended."""
        return self._runner.pid if self._runner else None

    @property
    def is_alive(self) -> bool:
        """Whether the runner has not ended."""
        return self._runner is not None and self._runner.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How the runner ended; None while it lives."""
        return self._runner.poll() if self._runner else None

    @property
    def is_ready(self) -> bool:
        """Whether the runner lives and serves."""
        if not self.is_alive or not self.log.exists():
            return False
        with self.log.open("rb") as log:
            log.seek(self._logged)
            return _READY.encode() in log.read()

    def start(self) -> None:
        """Start a runner, and a server if there is none."""
        if self._server is None or self._server.poll() is not None:
            self._server = self._spawn([sys.executable, "-S", "-c", _STAND_IN])
        self._logged = self.log.stat().st_size if self.log.exists() else 0
        self._env["MLFLOW_SERVER_PID"] = str(self._server.pid)
        self._runner = self._spawn([sys.executable, "-m", "mlflow.server.jobs.runner"])

    def kill(self) -> list[int]:
        """Kill all processes of this replica at once; answers their ids."""
        # A process that is being forked just now is found by the second look.
        killed = [*self._kill_once(), *self._kill_once()]
        for process in (self._server, self._runner):
            if process is not None:
                process.wait()
        return killed

    def stop(self, patience_seconds: float) -> bool:
        """Ask the runner to end in order; whether it did, and left nothing behind."""
        if self.is_alive:
            self._runner.terminate()
            try:
                self._runner.wait(patience_seconds)
            except subprocess.TimeoutExpired:
                return False
        deadline = time.monotonic() + patience_seconds
        while [each for each in self.processes() if each.role != "server"]:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_SECONDS)
        return True

    def processes(self) -> list[Process]:
        """All live processes of this replica, found by their environment or parent (Linux)."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                is_marked = f"{_MARK}={self._mark}".encode() in (entry / "environ").read_bytes()
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            parent = int(stat[1])
            # A watchdog has no environment.
            is_ours = is_marked or (parent == self.runner_pid and _WATCHDOG in command)
            if is_ours and stat[0] not in ("Z", "X"):
                found[int(entry.name)] = (parent, command)
        return [Process(pid, self._role(pid, found)) for pid in sorted(found)]

    def _role(self, pid: int, found: Mapping[int, tuple[int, bytes]]) -> str:
        parent, command = found[pid]
        if self._server is not None and pid == self._server.pid:
            return "server"
        if self._runner is not None and pid == self._runner.pid:
            return "runner"
        if _WATCHDOG in command:
            return "watchdog"
        if b"fork_server.py" in command:
            of_server = b"fork_server.py" in found.get(parent, (0, b""))[1]
            # An orphan, too: a fork server does not outlive its runner.
            return "job" if of_server or parent != self.runner_pid else "fork server"
        return "job" if b"_job_subproc_entry" in command else "other"

    def _kill_once(self) -> list[int]:
        pids = [each.pid for each in self.processes()]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return pids

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
