"""A job function that ends in every way that leaves no usable result."""

import os
import sys
import threading
import time

from mlflow.server.jobs.functions import job

_FOREVER_SECONDS = 600


def _deep():
    value = None
    for _ in range(100_000):
        value = [value]
    return value


def _lingering_thread():
    threading.Thread(target=time.sleep, args=(_FOREVER_SECONDS,), name="lingering").start()
    return "returned"


ENDS = {
    "a plain value": lambda: 1,
    "NaN": lambda: {"score": float("nan")},
    "an infinity": lambda: [float("inf")],
    "an object": object,
    "bytes": lambda: b"bytes",
    "a lone surrogate": lambda: "\ud800",
    "a NUL": lambda: {"text": "\0"},
    "too deep a list": _deep,
    "too large a text": lambda: "x" * (33 * 1024 * 1024),
    "exit 0 at once": lambda: os._exit(0),
    "exit 3 at once": lambda: os._exit(3),
    "SystemExit": lambda: sys.exit(0),
    "an endless recursion": lambda: ENDS["an endless recursion"](),
    "a thread that never ends": _lingering_thread,
}


@job(name="unusable", max_workers=20)
def end(how, note=None):
    return note or ENDS[how]()
