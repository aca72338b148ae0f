"""Small job functions that tests run in real job processes."""

import ctypes
import json
import os
import subprocess
import sys
import threading
import time

from mlflow.server.jobs.functions import job

_FOREVER_SECONDS = 600


@job(name="sample_add", max_workers=2)
def add(x, y=1):
    return x + y


@job(name="sample_echo", max_workers=2)
def echo(text):
    return {"length": len(text), "end": text[-8:]}


@job(name="sample_fail", max_workers=2)
def fail(message):
    raise ValueError(message)


@job(name="sample_crash", max_workers=2)
def crash():
    print("last words", file=sys.stderr, flush=True)
    ctypes.string_at(0)


@job(name="sample_leave_early", max_workers=2)
def leave_early():
    os._exit(0)


@job(name="sample_family", max_workers=2)
def family(pids_path):
    """Starts a descendant, tells both process ids, and stays."""
    descendant = subprocess.Popen(
        [sys.executable, "-c", f"import time; time.sleep({_FOREVER_SECONDS})"]
    )
    tell(pids_path, {"job": os.getpid(), "descendant": descendant.pid})
    time.sleep(_FOREVER_SECONDS)


@job(name="sample_straggler", max_workers=2)
def straggler():
    """Returns while a thread of its own goes on for ever."""
    threading.Thread(target=time.sleep, args=(_FOREVER_SECONDS,)).start()
    return "returned"


@job(name="sample_surroundings", max_workers=2)
def surroundings(names):
    """What a job can find out about itself."""
    with open("/proc/self/cmdline", "rb") as file:
        command_line = file.read().decode().split("\0")
    return {"env": {name: os.environ.get(name) for name in names}, "command_line": command_line}


def tell(path, value):
    """Write JSON that appears whole."""
    with open(f"{path}.part", "w") as file:
        json.dump(value, file)
    os.replace(f"{path}.part", path)
