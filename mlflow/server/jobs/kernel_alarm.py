"""Have the kernel kill this process at an instant, whatever else is stopped by then. Keeps I4.

The watchdog ends a runner that is paused. What pauses all processes of a server at once, as the
freezer of a container does, pauses the watchdog too; when they wake, jobs might go on before it has
acted. A timer of the kernel runs on meanwhile, and its SIGKILL reaches a process that is stopped.
The jobs follow, stopped or not, as they do whenever their runner is gone (`local/child_watch`).

Linux only. Elsewhere, and where the kernel refuses, the watchdog is alone.
"""

import ctypes
import logging
import math
import signal
import sys
import time

_logger = logging.getLogger(__name__)

_SIGEV_SIGNAL = 0
_TIMER_ABSTIME = 1
_NANOSECONDS = 1_000_000_000


class _Event(ctypes.Structure):
    _fields_ = [
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("unused", ctypes.c_char * 48),
    ]


class _Times(ctypes.Structure):
    # In seconds and nanoseconds: how often again, and when.
    _fields_ = [("again", ctypes.c_long * 2), ("at", ctypes.c_long * 2)]


class KernelAlarm:
    """One timer of this process. A fork has none."""

    def __init__(self) -> None:
        self._timer = ctypes.c_void_p()
        self._set = None
        if sys.platform != "linux":
            return
        try:
            # By its name: what pretends another time to a program stands before it.
            libc = ctypes.CDLL("libc.so.6", use_errno=True)
            create, self._set = libc.timer_create, libc.timer_settime
        except (OSError, AttributeError):
            # Another C library, or one so old that it has them elsewhere.
            return
        event = _Event(signal=int(signal.SIGKILL), notify=_SIGEV_SIGNAL)
        # The clock of `Clock`.
        if create(time.CLOCK_BOOTTIME, ctypes.byref(event), ctypes.byref(self._timer)) != 0:
            _logger.debug("There is no timer for this process: error %d", ctypes.get_errno())
            self._set = None

    def kill_at(self, instant: float) -> None:
        """Be killed at this instant of `Clock`, unless another is told before.

        Args:
            instant: Infinity for never.
        """
        if self._set is None:
            return
        times = _Times()
        if instant != math.inf:
            # All zeros would mean never.
            nanoseconds = max(int(instant * _NANOSECONDS), 1)
            times.at[:] = divmod(nanoseconds, _NANOSECONDS)
        self._set(self._timer, _TIMER_ABSTIME, ctypes.byref(times), None)
