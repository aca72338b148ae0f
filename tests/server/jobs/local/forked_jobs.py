"""Job functions that tell what a forked job process is like."""

import gc
import os
import random
import signal
import sys
import threading
import time
import uuid
from types import ModuleType

import numpy as np
import wanderers

from mlflow.genai.evaluation.harness import _warmup_litellm
from mlflow.server.jobs.functions import job
from mlflow.server.jobs.local import holes

FOREVER_SECONDS = 600
IMPORTED_BY = os.getpid()


@job(name="forked_nothing", max_workers=2)
def nothing():
    pass


@job(name="forked_portrait", max_workers=2)
def portrait():
    """All that a process has of its own, or should have."""
    return {
        "pid": os.getpid(),
        "imported_by": IMPORTED_BY,
        "has_runner": "runner_of_a_portrait" in sys.modules,
        "session": os.getsid(0),
        "group": os.getpgrp(),
        "environment": dict(os.environ),
        "descriptors": {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in map(str, range(3))},
        "open": len(os.listdir("/proc/self/fd")),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)],
        "random": [random.random(), float(np.random.rand()), uuid.uuid4().hex],
        "main": sys.modules["__main__"].__spec__.name,
        "argv": sys.argv,
        "zone": time.tzname[0],
        "frozen": gc.get_freeze_count(),
        "taken": len(holes._stay),
    }


@job(name="forked_imports", max_workers=2)
def imports(driver):
    """What this process has imported by itself, and whether a driver was there before it.

    The collector does not know what was.
    """
    own = {each.__name__ for each in gc.get_objects() if isinstance(each, ModuleType)}
    return [sorted(own), driver in sys.modules.keys() - own]


@job(name="forked_multiply", max_workers=2)
def multiply():
    """Work for the threads that the mathematical libraries ended before the fork."""
    return float((np.ones((500, 500)) @ np.ones((500, 500)))[0, 0])


@job(name="forked_exit", max_workers=2)
def leave(code):
    os._exit(code)


@job(name="forked_wait", max_workers=2)
def wait(path):
    """Stays until a file is there."""
    deadline = time.monotonic() + FOREVER_SECONDS
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.02)
    return os.getpid()


@job(name="forked_wander", max_workers=2)
def wander(announcement):
    """Leaves descendants in other sessions."""
    wanderers.wander(announcement)


@job(name="forked_ask_model", max_workers=2)
def ask_model():
    """What a module that calls models saw, as it is imported here."""
    is_inherited = "litellm" in sys.modules
    _warmup_litellm()
    litellm = sys.modules["litellm"]
    return {
        "is_inherited": is_inherited,
        "key": litellm.SEEN["ODD_API_KEY"],
        "is_asking": litellm.ASKING.is_alive(),
    }
