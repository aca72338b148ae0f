"""A stand-in for a runner that forks jobs, at once and in a row, and tells what is left of them.

python runner_of_many.py: what to run is read from standard input, what was seen is written to
standard output, both as JSON. Nobody else opens or closes anything in this process.
"""

import json
import os
import sys
from pathlib import Path

from mlflow.server.jobs.local import process_group
from mlflow.server.jobs.local.forking import ForkServer

_PATIENCE_SECONDS = 60.0


def opened(pid):
    """What a process has open, by descriptor; the one that lists this process's is not counted."""
    folder = f"/proc/{pid}/fd"
    links = {}
    for fd in os.listdir(folder):
        try:
            links[fd] = os.readlink(f"{folder}/{fd}")
        except FileNotFoundError:
            assert pid == os.getpid()
    return links


def children(pid):
    """The process ids of its children."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def data_kib(pid):
    """The memory that it has written to, in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1])
    raise AssertionError("no VmData")


def state(server):
    """What a job could leave in the runner and in its fork server."""
    return {
        "runner": opened(os.getpid()),
        "server": opened(server.pid),
        "children": children(server.pid),
        "server_kib": data_kib(server.pid),
    }


def end(group):
    """Wait for a job's end and let go of it; its exit code."""
    assert group.wait(_PATIENCE_SECONDS)
    code = group.end()
    group.stderr.close()
    return code


def run(told):
    """Fork what is told, and answer what was seen."""
    server = ForkServer.start(os.environ)
    server.wait_until_warm(None)
    assert server.is_warm
    seen = {"before": state(server), "errors": []}
    if not told["is_watched"]:
        process_group._pidfd = lambda pid: None
    groups = []
    for env in told["at_once"]:
        try:
            groups.append(server.fork(env))
        except OSError as error:
            seen["errors"].append(str(error))
    seen["at_once"] = len(children(server.pid))
    seen["pids"] = [group.pid for group in groups]
    Path(told["go"]).touch()
    seen["codes"] = [end(group) for group in groups]
    seen["server_kib_once_used"] = data_kib(server.pid)
    seen["codes"] += [end(server.fork(env)) for env in told["in_a_row"]]
    return {**seen, "after": state(server)}


json.dump(run(json.load(sys.stdin)), sys.stdout)
