"""The process that a contender is measured in: `child.py ROLE MODULE URI CONCURRENCY COUNT`.

It prints one JSON object. A role that works on says first that it does, and ends with its stdin.
What the queue itself prints goes to stderr.
"""

import contextlib
import importlib
import json
import os
import sqlite3
import sys
import threading
import time
from pathlib import Path

_PATIENCE_SECONDS = 600.0
_answers = sys.stdout


def main() -> None:
    _keep_stdout()
    role, module, uri, concurrency, count = sys.argv[1:6]
    traced = _count_sqlite_statements() if role == "idle" and uri.startswith("sqlite") else None
    contender = importlib.import_module(module).contender(uri, int(concurrency))
    _ROLES[role](contender, int(count), traced)
    # Loops and threads of a peer must not keep its figures waiting.
    os._exit(0)


def produce(contender, count, traced) -> None:
    """Enqueue one by one, then as many in bulk; when told, more of them at a steady rate."""
    contender.prepare()
    contender.enqueue(time.time())
    each = _timed(lambda: contender.enqueue_each(count))
    bulk = None
    began = time.perf_counter()
    if contender.enqueue_bulk(count):
        bulk = time.perf_counter() - began
    else:
        contender.enqueue_each(count)
    _say({"each": count / each, "bulk": bulk and count / bulk, "jobs": 2 * count + 1})
    further = int(sys.stdin.readline())
    contender.enqueue_paced(float(os.environ["BENCH_RATE"]), further)


def work(contender, count, traced) -> None:
    """Work off what is there, then say how long further jobs take to start, until told to end."""
    begun = _Begun()
    cpu = time.process_time()
    contender.start(begun.note)
    begun.wait_for(count)
    _wait_until_finished(contender)
    seconds = time.perf_counter() - begun.first
    _say({"process": count / seconds, "cpu_ms": 1000 * (time.process_time() - cpu) / count})
    begun.clear()
    further = int(sys.stdin.readline())
    begun.wait_for(further)
    _say({"latencies": begun.latencies[:further]})
    sys.stdin.readline()
    contender.stop()


def idle(contender, count, traced) -> None:
    """Work on nothing; `count` seconds of it are counted after as many to settle."""
    contender.start(lambda sent_at: None)
    settle = min(5.0, float(count))
    time.sleep(settle)
    before, cpu = len(traced or ()), time.process_time()
    _say({"settled": True})
    time.sleep(count)
    statements = None if traced is None else (len(traced) - before) / count
    _say({"statements": statements, "cpu_ms": 1000 * (time.process_time() - cpu) / count})
    contender.stop()


class _Begun:
    """When jobs began, and how long before that they were sent."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self.clear()

    def clear(self) -> None:
        self.latencies: list[float] = []
        self.first = 0.0
        self._wanted = sys.maxsize

    def note(self, sent_at: float) -> None:
        now = time.time()
        if not self.latencies:
            self.first = time.perf_counter()
        self.latencies.append(now - sent_at)
        if len(self.latencies) >= self._wanted:
            with self._lock:
                self._lock.notify_all()

    def wait_for(self, count: int) -> None:
        self._wanted = count
        with self._lock:
            if not self._lock.wait_for(lambda: len(self.latencies) >= count, _PATIENCE_SECONDS):
                raise TimeoutError(f"Only {len(self.latencies)} of {count} jobs began.")


def _wait_until_finished(contender) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while contender.unfinished():
        if time.monotonic() > deadline:
            raise TimeoutError("Not all jobs ended.")
        time.sleep(0.002)


def _count_sqlite_statements() -> list[None]:
    """Note every statement of every connection that is opened from now on."""
    noted: list[None] = []
    connect = sqlite3.connect

    def traced(*args, **options):
        connection = connect(*args, **options)
        connection.set_trace_callback(lambda statement: noted.append(None))
        return connection

    sqlite3.connect = sqlite3.dbapi2.connect = traced
    return noted


def _timed(call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _keep_stdout() -> None:
    """Answers go alone to where they are read.

    Nobody reads while jobs are enqueued at a steady rate. A queue that logged to a full pipe would
    stand still until they all are.
    """
    global _answers
    _answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


def _say(figures: dict) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(figures), file=_answers, flush=True)


_ROLES = {"produce": produce, "work": work, "idle": idle}

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    main()
