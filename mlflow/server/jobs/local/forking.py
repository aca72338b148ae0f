"""The runner's side of the fork server: start it, ask it for children, replace it.

What the server is and who dies when is told in `fork_server`. Here its failures end: whatever
happens to a server, the answer is that there is no child, and the job starts afresh.
"""

import contextlib
import json
import logging
import math
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from mlflow.server.jobs.backoff import delay_seconds
from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.local.family import Family
from mlflow.server.jobs.local.job_environment import fork_server_environment, unlike_when_imported
from mlflow.server.jobs.local.process_group import ProcessGroup, describe_exit
from mlflow.server.jobs.local.stderr_tail import StderrTail
from mlflow.server.jobs.local.twin import Twin, adopted

_logger = logging.getLogger(__name__)

_FORK_SERVER = str(Path(__file__).with_name("fork_server.py"))

# A server that is not warm by then is of no help to a job that waits for it.
_WARM_SECONDS = 60.0
_ANSWER_SECONDS = 10.0
_MAX_MESSAGE_BYTES = 1024 * 1024
_GROWTH = 1.5
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0


class ForkServerLost(Exception):
    """A fork server is gone, or does not answer as it should."""


class ForkServerUnfit(ForkServerLost):
    """A fork server must not be forked, and neither must another one that imports the same."""


class Forking:
    """Forks jobs from a warm server, and has a lost one followed by another."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._server: ForkServer | None = None
        self._base = dict(os.environ)
        self._is_stopped = False
        # How many servers in a row were lost, the last that forked included; when to try the next.
        self._failures = 0
        self._next_start = math.inf
        self._reported: set[str] = set()
        self._lock = threading.Lock()

    @staticmethod
    def is_possible() -> bool:
        """Whether this platform has what it takes."""
        if sys.platform != "linux":
            return False
        try:
            # One built for old systems has neither, and a container may forbid both.
            os.close(os.pidfd_open(os.getpid()))
            os.close(os.memfd_create("mlflow-job"))
        except (AttributeError, OSError):
            return False
        return True

    def start(self) -> None:
        """Start a server, unless this process was born with one; does not wait until it is warm."""
        with self._lock:
            if twin := adopted():
                self._server = ForkServer.of(twin)
            else:
                self._start()

    def wait_until_warm(self, timeout: float | None) -> None:
        """Wait for a server that is about to be there; a fresh interpreter would take as long.

        Args:
            timeout: Seconds that the caller has; None for as many as it takes.
        """
        if (server := self._up_to_date()) is None:
            return
        try:
            server.wait_until_warm(timeout)
        except ForkServerLost as error:
            self._replace(server, error)

    def fork(self, env: Mapping[str, str]) -> ProcessGroup | None:
        """A process that runs the job of this environment; None if it has to be started afresh.

        Raises:
            OSError: The host has no room for another process.
        """
        server = self._server
        if server is None or not server.is_warm:
            return None
        if unlike := server.unlike(env):
            self._report(f"Jobs are started afresh where {', '.join(unlike)} differ")
            return None
        try:
            return server.fork(env)
        except ForkServerLost as error:
            self._replace(server, error)
            return None

    def stop(self) -> None:
        """Fork nothing more. The server ends with its last job."""
        with self._lock:
            self._is_stopped = True
            server, self._server = self._server, None
        if server:
            server.retire()

    def _up_to_date(self) -> "ForkServer | None":
        with self._lock:
            outdated = self._server if self._server and self._server.is_outdated else None
            if outdated:
                self._start()
            else:
                self._start_if_due()
            server = self._server
        if outdated:
            _logger.info("The job fork server is replaced: it has grown, or job code has changed")
            outdated.retire()
        return server

    def _replace(self, server: "ForkServer", error: ForkServerLost) -> None:
        with self._lock:
            if self._server is not server:
                return
            self._server = None
            if not isinstance(error, ForkServerUnfit):
                self._failures = 1 if server.has_forked else self._failures + 1
                self._next_start = self._clock.monotonic() + self._pause_seconds()
                self._start_if_due()
            rest = "another one is started" if self._server else "jobs are started afresh"
        _logger.warning("The job fork server is lost; %s: %s", rest, error)

    def _pause_seconds(self) -> float:
        # The first one may have died by chance. One that dies of what it imports, or of what the
        # host lacks, is not to cost each job a start.
        if self._failures < 2:
            return 0.0
        return delay_seconds(self._failures - 2, _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)

    def _start_if_due(self) -> None:
        if self._clock.monotonic() >= self._next_start:
            self._start()

    def _start(self) -> None:
        self._server, self._next_start = None, math.inf
        if self._is_stopped:
            return
        try:
            self._server = ForkServer.start(self._base)
        except OSError as error:
            self._failures += 1
            self._next_start = self._clock.monotonic() + self._pause_seconds()
            _logger.warning("Jobs are started afresh: no job fork server can start: %s", error)

    def _report(self, message: str) -> None:
        if message not in self._reported:
            self._reported.add(message)
            _logger.info(message)


class ForkServer:
    """One server process. Every failure of it is final."""

    def __init__(
        self,
        group: ProcessGroup,
        control: socket.socket,
        env: Mapping[str, str],
        told: dict[str, Any] | None = None,
    ) -> None:
        """
        Args:
            group: Its process.
            control: Where it is asked.
            env: Its environment.
            told: What it told of itself; None if it still has to, because it is not warm yet.
        """
        self._group = group
        self._control = control
        self._control.settimeout(_ANSWER_SECONDS)
        self._env = env
        self._stderr = StderrTail(self._group.stderr, prefix="[job fork server] ")
        self._warm_by = time.monotonic() + _WARM_SECONDS
        self._ready = told
        self._kib = 0
        self._children = 0
        self._is_retired = False
        self._is_closed = False
        self.has_forked = False
        # Held for one question and its answer.
        self._lock = threading.Lock()

    @classmethod
    def start(cls, base: Mapping[str, str]) -> "ForkServer":
        """Start one by itself.

        Args:
            base: The runner's environment, of which the server sees what is no secret.

        Raises:
            OSError: The interpreter cannot be started.
        """
        env = fork_server_environment(base)
        withheld = [*(base.keys() - env.keys())]
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, contextlib.ExitStack() as unstarted:
            unstarted.callback(control.close)
            control.send(json.dumps({"withheld": withheld}).encode())
            group = ProcessGroup.start(
                _FORK_SERVER,
                [str(theirs.fileno())],
                env=env,
                pass_fds=[theirs.fileno()],
                watch="kernel",
                family=Family(of_helper=True),
            )
            unstarted.pop_all()
        return cls(group, control, env)

    @classmethod
    def of(cls, twin: Twin) -> "ForkServer":
        """The one that this process was born with, which is warm."""
        return cls(twin.group, twin.control, twin.env, twin.told)

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._group.pid

    @property
    def is_warm(self) -> bool:
        """Whether it can fork."""
        return self._ready is not None and not self._is_closed

    @property
    def is_outdated(self) -> bool:
        """Whether a new server would be smaller, or have other code."""
        if self._ready is None:
            return False
        return self._kib > self._ready["kib"] * _GROWTH or any(
            _modified_ns(path) != time_ns for path, time_ns in self._ready["files"].items()
        )

    def wait_until_warm(self, timeout: float | None) -> None:
        """Wait until it can fork, or is known to be slow.

        Raises:
            ForkServerLost: It cannot.
        """
        if self.is_warm:
            return
        seconds = max(self._warm_by - time.monotonic(), 0.0)
        if timeout is not None:
            seconds = min(seconds, timeout)
        control = select.poll()
        with self._lock:
            if self._is_closed:
                raise ForkServerLost("it is gone")
            control.register(self._control.fileno(), select.POLLIN)
        if not control.poll(seconds * 1000):
            return
        with self._lock:
            if self._is_closed:
                raise ForkServerLost("it is gone")
            if self._ready is None:
                answer = self._answer()
                if "unfit" in answer:
                    self._close()
                    raise ForkServerUnfit(answer["unfit"])
                self._ready = answer

    def unlike(self, env: Mapping[str, str]) -> list[str]:
        """The variables for which this environment differs from what the server's modules saw."""
        return unlike_when_imported(self._ready["reads"], self._env, env)

    def fork(self, env: Mapping[str, str]) -> ProcessGroup:
        """Fork a child that runs the job of this environment.

        Raises:
            ForkServerLost: There is no child.
            OSError: There is no room for one.
        """
        family = Family()
        with contextlib.ExitStack() as ends:
            letter = os.memfd_create("mlflow-job")
            ends.callback(os.close, letter)
            with open(letter, "w", encoding="utf-8", closefd=False) as file:
                json.dump({**env, **family.environment}, file)
            watched, lifeline = os.pipe()
            ends.callback(os.close, watched)
            # Closed if there is no answer: a child that nobody knows of dies of it.
            unanswered = ends.enter_context(contextlib.ExitStack())
            unanswered.callback(os.close, lifeline)
            stderr, theirs = os.pipe()
            ends.callback(os.close, theirs)
            reader = unanswered.enter_context(open(stderr, "rb", buffering=0))
            with self._lock:
                answer = self._ask({}, [letter, watched, theirs])
                if "error" in answer:
                    raise OSError(f"the job's process cannot be forked: {answer['error']}")
                self._children += 1
                self.has_forked = True
                self._kib = answer["kib"]
            unanswered.pop_all()
        group = ProcessGroup(_Forked(answer["pid"], reader, self), lifeline, family)
        if not group.has_pidfd:
            group.end()
            reader.close()
            raise OSError("there is no descriptor left to watch the job's process with")
        return group

    def reap(self, pid: int) -> int | None:
        """The exit code of a child that has ended; None if nobody knows."""
        with self._lock:
            self._children -= 1
            try:
                return self._ask({"reap": pid})["code"]
            except ForkServerLost:
                return None
            finally:
                if self._is_retired and not self._children:
                    self._close()

    def retire(self) -> None:
        """Fork nothing more, and end with the last child."""
        with self._lock:
            self._is_retired = True
            if not self._children:
                self._close()

    def _ask(self, request: dict[str, Any], fds: Sequence[int] = ()) -> dict[str, Any]:
        if self._is_closed:
            raise ForkServerLost("it is gone")
        try:
            socket.send_fds(self._control, [json.dumps(request).encode()], fds)
        except ConnectionError as error:
            raise self._gone() from error
        except OSError as error:
            raise self._lost(f"it takes no request: {error}") from error
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        try:
            message = self._control.recv(_MAX_MESSAGE_BYTES)
        except OSError as error:
            raise self._lost(f"it does not answer: {error}") from error
        if not message:
            raise self._gone()
        return json.loads(message)

    def _gone(self) -> ForkServerLost:
        self._group.wait(_ANSWER_SECONDS)
        return self._lost(None)

    def _lost(self, words: str | None) -> ForkServerLost:
        code, tail = self._close()
        return ForkServerLost(f"{words or f'it {describe_exit(code)}'}\n{tail}".strip())

    def _close(self) -> tuple[int | None, str]:
        if not self._is_closed:
            self._is_closed = True
            self._control.close()
        return self._group.end(), self._stderr.close()


class _Forked:
    """A child of a fork server, as the leader of its group."""

    def __init__(self, pid: int, stderr: BinaryIO, server: ForkServer) -> None:
        self.pid = pid
        self.stderr = stderr
        self._server = server

    def wait(self, timeout: float | None = None) -> int | None:
        return self._server.reap(self.pid)


def _modified_ns(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None
