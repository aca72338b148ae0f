"""Import once, then be two processes that share the memory of it: a fork server, and its runner.

    python warm_start.py WITHHELD ENVIRONMENT MODULE [ARGUMENT ...]

The first two are descriptors: the names of the variables that are withheld from this process, and
the whole environment of the runner. This process imports what jobs need and MODULE, without a
secret, forks the fork server, and only then reads its environment and becomes the runner, by `run`
of MODULE. So the fork server never had what it must not have, and nothing is imported twice.

Where the imports would have seen something else in the runner's environment, or leave a process
that must not be forked, MODULE is run by a fresh interpreter instead, and a fork server that it
starts itself says what is wrong.

Linux only. Like `fork_server`, of which it runs the parts, it needs the standard library alone at
first.
"""

import collections
import contextlib
import ctypes
import dataclasses
import importlib
import json
import os
import runpy
import socket
import sys
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

_HERE = Path(__file__)
_FORK_SERVER = _HERE.with_name("fork_server.py")
_ARG_START = 48

# What a runner needs, and imports when it first does.
_NEEDED_LATER = ["mlflow.store.db.trace_rollups"]
# Gives all variables to a program that tells it of the machine, and so can be imported unwatched.
_ASKS_A_PROGRAM = "croniter"


def main(withheld_fd: str, environment_fd: str, module: str, *arguments: str) -> None:
    watch = _parts_of(_HERE.with_name("child_watch.py"))
    watch.import_as_a_module_would()
    server = _parts_of(_FORK_SERVER)
    own = server.descriptors().keys()
    scrubbed = dict(os.environ)
    importlib.import_module(_ASKS_A_PROGRAM)
    try:
        # An import writes to much of what was imported before it, and what is written to is not
        # shared. So the runner itself is imported before the fork.
        warm = server.warm_up(_read(withheld_fd), own, [module, *_NEEDED_LATER])
    except server.Unfit as reason:
        _start_afresh(reason, _read(environment_fd), module, arguments)
    # Later on it would end the sharing.
    collections.deque(warm.spare_time, maxlen=0)

    # Warm by now.
    from mlflow.server.jobs.local.job_environment import unlike_when_imported
    from mlflow.server.jobs.local.twin import Twin, adopt

    twin = Twin.fork(
        lambda control, lifeline: _be_fork_server(control, lifeline, warm, server, watch),
        warm.told,
        scrubbed,
    )
    env = _read(environment_fd)
    if unlike := unlike_when_imported(warm.told["reads"], scrubbed, env):
        twin.end()
        _start_afresh(f"it imports what reads {', '.join(unlike)}", env, module, arguments)
    warm.child.become(env, warm.written)
    # What the imports wrote is in the environment of the runner from now on, and so of its jobs.
    told = {**warm.told, "reads": warm.told["reads"] | warm.written}
    adopt(dataclasses.replace(twin, told=told))
    sys.argv = [module, *arguments]
    sys.modules[module].run(arguments)


def _be_fork_server(
    control: socket.socket,
    lifeline: int,
    warm: object,
    server: SimpleNamespace,
    watch: SimpleNamespace,
) -> None:
    watch.watch_by_kernel(lifeline)
    _show_as([sys.executable, str(_FORK_SERVER)])
    own = {0, 1, 2, control.fileno(), lifeline}
    # The runner waits for the end of one of them.
    for fd in server.descriptors().keys() - own:
        with contextlib.suppress(OSError):
            os.close(fd)
    server.serve(control, warm, own)


def _show_as(command: Collection[str]) -> None:
    """Have process listings show another command line, as far as it has room."""
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    # Fields are counted from one, and the first two stand before the parenthesis.
    start, end = (int(stat[number - 3]) for number in (_ARG_START, _ARG_START + 1))
    shown = b"\0".join(os.fsencode(word) for word in command)
    ctypes.memmove(start, shown.ljust(end - start, b"\0")[: end - start], end - start)


def _start_afresh(
    reason: object, env: dict[str, str], module: str, arguments: Collection[str]
) -> NoReturn:
    print(f"The job runner imports by itself: {reason}", file=sys.stderr, flush=True)
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], env)


def _read(fd: str):
    with open(int(fd), encoding="utf-8") as file:
        file.seek(0)
        return json.load(file)


def _parts_of(path: Path) -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(path)))


if __name__ == "__main__":
    main(*sys.argv[1:])
