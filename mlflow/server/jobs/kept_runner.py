"""Keep one runner beside a server: start another when it crashes, until it is told to end.

A runner that ends although its server did not ask for it is followed by another, after a pause that
grows while one follows the other too soon. There is never more than one: the next is started when
the last has been reaped. What does not come up at all is not started again and again: the first
runner says with an exit code that it cannot start, and after some crashes in a row we say it.
`wait` then answers that code, upon which the server stops, so that a service manager sees it.

Seen from the server this is the process of its runner: what it needs of a `Popen` is here.
"""

import contextlib
import logging
import os
import random
import subprocess
import threading
from collections.abc import Callable

from mlflow.server.jobs.backoff import delay_seconds
from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.executor import EXECUTOR_JOB_RUNNER_FATAL_EXIT_CODE
from mlflow.server.jobs.local.process_group import describe_exit
from mlflow.server.jobs.runner_orders import Order

_logger = logging.getLogger(__name__)

_MAX_CRASHES = 5
# A runner that lived as long was not one that crashes at once. Less than a job lease by default, so
# that jobs which kill whoever recovers them are set aside, and do not end their server first.
_SETTLED_SECONDS = 30.0
_SETTLING_SECONDS = 0.5
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0


class Crashes:
    """How often in a row a runner has crashed too soon, and what follows from that."""

    def __init__(self, random_share: Callable[[], float] = random.random) -> None:
        self._random_share = random_share
        self.in_a_row = 0

    def pause_after(self, lived_seconds: float) -> float | None:
        """How long to wait before the next runner, in seconds; None if there is to be none."""
        self.in_a_row = self.in_a_row + 1 if lived_seconds < _SETTLED_SECONDS else 1
        if self.in_a_row >= _MAX_CRASHES:
            return None
        return delay_seconds(
            self.in_a_row - 1, _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, self._random_share
        )


class KeptRunner:
    """The runner of one server, whichever process it is just now."""

    def __init__(self, start: Callable[[], subprocess.Popen], clock: Clock) -> None:
        """
        Args:
            start: Starts a runner whose standard input is an unbuffered pipe.
            clock: For the pauses.

        Raises:
            OSError: The first one could not be started.
        """
        self._start = start
        self._clock = clock
        self._crashes = Crashes()
        self._asked: Order | None = None
        self._stopping = threading.Event()
        self._over = threading.Event()
        self.returncode: int | None = None
        self._process = start()
        threading.Thread(target=self._keep, name="mlflow-job-runner-keeper", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id of the present runner, or of the last one."""
        return self._process.pid

    def wait(self, timeout: float | None = None) -> int:
        """Wait until no runner follows.

        Returns:
            The exit code of the last one, or that of a fatal failure.

        Raises:
            subprocess.TimeoutExpired: The time is over first.
        """
        if not self._over.wait(timeout):
            raise subprocess.TimeoutExpired(self._process.args, timeout)
        return self.returncode

    def ask(self, order: Order) -> None:
        """Give the runner an order; no other runner follows. Takes no lock, for signal handlers."""
        if self._asked is not Order.NOW:
            self._asked = order
        self._tell(order)

    @property
    def is_hurried(self) -> bool:
        """Whether it was asked to end at once."""
        return self._asked is Order.NOW

    def stop(self, patience_seconds: float) -> None:
        """Have the runner drain, wait for its end, and kill it if that takes too long."""
        if self._asked is None:
            self.ask(Order.DRAIN)
        self._stopping.set()
        if not self._over.wait(patience_seconds):
            _logger.warning(
                "The job runner did not stop within %.0f s; killing it", patience_seconds
            )
            self._process.kill()
            self._over.wait()

    def _keep(self) -> None:
        is_first = True
        while True:
            began = self._clock.monotonic()
            code = self._process.wait()
            # Its server's end ends a runner too, and is known here only a moment later.
            self._clock.wait(self._stopping, _SETTLING_SECONDS)
            if self._is_last(code, is_first):
                break
            pause = self._crashes.pause_after(self._clock.monotonic() - began)
            if pause is None:
                _logger.error(
                    "The job runner ended %d times soon after its start, now it %s; the server "
                    "starts no other",
                    self._crashes.in_a_row,
                    describe_exit(code),
                )
                code = EXECUTOR_JOB_RUNNER_FATAL_EXIT_CODE
                break
            _logger.warning(
                "The job runner %s; another one is started in %.1f s. Jobs wait meanwhile",
                describe_exit(code),
                pause,
            )
            self._clock.wait(self._stopping, pause)
            if self._asked is not None:
                break
            self._start_another()
            is_first = False
        self._process.stdin.close()
        self.returncode = code
        self._over.set()

    def _is_last(self, code: int, is_first: bool) -> bool:
        # One that has run before was configured well; what keeps a later one from it may pass.
        is_fatal = is_first and code == EXECUTOR_JOB_RUNNER_FATAL_EXIT_CODE
        return is_fatal or self._asked is not None

    def _start_another(self) -> None:
        last = self._process
        try:
            self._process = self._start()
        except OSError as error:
            # The last one ends once more, as far as the caller can tell.
            _logger.warning("No job runner can be started: %s", error)
            return
        last.stdin.close()
        if self._asked is not None:
            # Asked while it was being started.
            self._tell(self._asked)

    def _tell(self, order: Order) -> None:
        # The runner may be gone, and its pipe be closed already.
        with contextlib.suppress(OSError, ValueError):
            os.write(self._process.stdin.fileno(), order.value)
