"""Threads that run one job after another, as many as there are jobs at once.

To start a thread takes longer than a short job does, and so does it to wake one. A thread that has
nothing to do waits a while for the next job, then ends. One that has run its call looks for another
before it waits, and of those that wait only one at a time is woken: whoever takes a call wakes the
next, if more calls wait. So jobs that begin together are run by as many threads as they keep busy.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable

_IDLE_SECONDS = 10.0

_Call = tuple[str, Callable[[], None]]


class JobThreads:
    """Begins each call at once, in the order they came, on a thread that is free or on a new one.

    Invariants: `_free` is how many threads wait, less the calls that wait for one of them. While
    calls wait, a thread is coming, which looks for one and wakes the next.
    """

    def __init__(self, idle_seconds: float = _IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._calls: deque[_Call] = deque()
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_coming = False
        self._free = 0
        self._lock = threading.Lock()

    def run(self, name: str, call: Callable[[], None]) -> None:
        """Begin the call on a thread that has this name meanwhile.

        Raises:
            RuntimeError: No thread can be started; the call is then not made.
        """
        with self._lock:
            if self._free:
                self._free -= 1
                self._calls.append((name, call))
                self._wake_next()
                return
        threading.Thread(target=self._serve, args=(name, call), name=name, daemon=True).start()

    def _serve(self, name: str, call: Callable[[], None]) -> None:
        following: _Call | None = (name, call)
        while following is not None:
            threading.current_thread().name, call = following
            call()
            following = call = None
            following = self._next()

    def _next(self) -> _Call | None:
        with self._lock:
            self._free += 1
            if self._calls:
                return self._take()
        while True:
            woken = self._wait()
            with self._lock:
                if woken:
                    self._is_coming = False
                if self._calls:
                    return self._take()
                if not woken:
                    self._free -= 1
                    return None

    def _wait(self) -> bool:
        try:
            self._wakes.get(timeout=self._idle_seconds)
        except queue.Empty:
            return False
        return True

    def _take(self) -> _Call:
        taken = self._calls.popleft()
        self._wake_next()
        return taken

    def _wake_next(self) -> None:
        if self._calls and not self._is_coming:
            self._is_coming = True
            self._wakes.put(None)
