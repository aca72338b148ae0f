"""Threads that run one job after another, as many as there are jobs at once.

To start a thread takes longer than a short job does. A thread that has nothing to do waits a while
for the next job, then ends.
"""

import queue
import threading
from collections.abc import Callable

_IDLE_SECONDS = 10.0


class JobThreads:
    """Runs each call at once, on a thread that is free or on a new one.

    Invariant: `_free` is how many threads wait for a call that nobody has put there yet.
    """

    def __init__(self, idle_seconds: float = _IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._calls: queue.SimpleQueue[tuple[str, Callable[[], None]]] = queue.SimpleQueue()
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
                self._calls.put((name, call))
                return
        threading.Thread(target=self._serve, args=(name, call), name=name, daemon=True).start()

    def _serve(self, name: str, call: Callable[[], None]) -> None:
        following: tuple[str, Callable[[], None]] | None = (name, call)
        while following is not None:
            threading.current_thread().name, call = following
            call()
            following = call = None
            following = self._next()

    def _next(self) -> tuple[str, Callable[[], None]] | None:
        with self._lock:
            self._free += 1
        try:
            return self._calls.get(timeout=self._idle_seconds)
        except queue.Empty:
            pass
        with self._lock:
            try:
                return self._calls.get_nowait()
            except queue.Empty:
                self._free -= 1
                return None
