"""The only thread loop: beat, wait, beat again, until stopped."""

import logging
import random
import re
import threading
import traceback
from collections.abc import Callable

from mlflow.server.jobs.backoff import delay_seconds
from mlflow.server.jobs.clock import Clock

_logger = logging.getLogger(__name__)

# Runners that started together drift apart.
_JITTER_SHARE = 0.1
# Runners that were woken together do not all ask the database at the same instant.
_SPREAD_SECONDS = 0.05
_FAILURE_BASE_SECONDS = 1.0

Beat = Callable[[], float | None]


class Loop:
    """Calls `beat` on a thread of its own.

    A beat answers after how many seconds it wants to be called again, or None when only a wake-up
    should call it. One that raises is called again after a growing pause, and never ends the loop.
    """

    def __init__(
        self,
        name: str,
        beat: Beat,
        clock: Clock,
        longest_failure_pause_seconds: float = 30.0,
    ) -> None:
        self._beat = beat
        self._clock = clock
        self._longest_failure_pause_seconds = longest_failure_pause_seconds
        self._woken = threading.Event()
        self._urgent = threading.Event()
        self._stopping = threading.Event()
        self._failures = RepeatedError(f"The {name} loop")
        self._thread = threading.Thread(target=self._run, name=f"mlflow-job-{name}", daemon=True)

    def start(self) -> None:
        """Begin; the first beat comes at once."""
        self._thread.start()

    def wake(self) -> None:
        """Beat soon; several calls before that beat are one."""
        self._urgent.set()
        self._woken.set()

    def wake_among_others(self) -> None:
        """Beat soon, but not at the same instant as all others who were told the same."""
        self._woken.set()

    def stop(self) -> None:
        """Beat no more; a beat that is under way ends first. Returns without waiting for it."""
        self._stopping.set()
        self._urgent.set()
        self._woken.set()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the end after `stop`; false when the last beat is still under way."""
        if self._thread.ident is None:
            return True
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            # Cleared before the beat: a wake-up that comes during it must cause another.
            self._woken.clear()
            self._urgent.clear()
            if self._stopping.is_set():
                return
            woken = self._clock.wait(self._woken, _jittered(self.beat_once()))
            if woken and not self._urgent.is_set():
                self._clock.wait(self._urgent, random.uniform(0, _SPREAD_SECONDS))

    def beat_once(self) -> float | None:
        """One beat with its failure turned into a pause; how long to wait after it, in seconds."""
        try:
            pause = self._beat()
        except Exception as e:  # noqa: BLE001 - root of a thread
            self._failures.failed(e)
            longest = self._longest_failure_pause_seconds
            return delay_seconds(
                self._failures.in_a_row - 1, min(_FAILURE_BASE_SECONDS, longest), longest
            )
        self._failures.passed()
        return pause


class RepeatedError:
    """Logs the first of equal errors in a row, and the recovery from them."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._last: str | None = None
        self.in_a_row = 0

    def failed(self, error: Exception) -> None:
        self.in_a_row += 1
        text = _one_line(error)
        if text == self._last:
            _logger.debug("%s failed again: %s", self._subject, text)
            return
        self._last = text
        where = "".join(traceback.format_tb(error.__traceback__))
        _logger.error("%s failed and will try again: %s\n%s", self._subject, text, where)

    def passed(self) -> None:
        self.in_a_row = 0
        if self._last is not None:
            _logger.info("%s works again after: %s", self._subject, self._last)
            self._last = None


def _one_line(error: Exception) -> str:
    # A database error's further lines repeat the statement's values, which a log must not hold.
    lines = str(error).splitlines() or [""]
    # Addresses of objects differ from one failure to the next.
    return re.sub(r"0x[0-9a-fA-F]+", "0x", f"{type(error).__name__}: {lines[0]}")


def _jittered(pause_seconds: float | None) -> float | None:
    if pause_seconds is None:
        return None
    return pause_seconds * (1 - _JITTER_SHARE * random.random())
