"""From the fork to the first line of a job: make a copy of the fork server a process of its own.

What a fresh interpreter would have of its own is made anew here: session, environment, random
numbers, what was derived from a secret. The copy ends without taking the interpreter apart, which
would copy all the memory that it shares with the server.
"""

import atexit
import ctypes
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Mapping
from typing import NoReturn

from sqlalchemy.orm import configure_mappers

from mlflow.server.jobs import _job_subproc_entry
from mlflow.server.jobs.local.child_watch import watch
from mlflow.server.jobs.local.family import MARK_ENV_VAR
from mlflow.server.jobs.logging_utils import configure_logging_for_jobs
from mlflow.store.model_registry.dbmodels.models import EncryptedString, SqlWebhook


def prepare() -> None:
    """Do in the fork server what each of its children would do alike."""
    configure_logging_for_jobs()
    configure_mappers()


def run(
    letter: int,
    lifeline: int,
    stderr: int,
    started: int,
    servers: Iterable[int],
    written: Mapping[str, str | None],
) -> NoReturn:
    """Be the process of one job, to its end.

    Args:
        letter: A file with the job's environment.
        lifeline: The read end of the pipe that the runner holds.
        stderr: What is to be the standard error.
        started: Closed when this process leads its own group.
        servers: The descriptors of the fork server.
        written: What modules wrote to the environment while they were imported.
    """
    code = 1
    try:
        os.setsid()
        os.close(started)
        os.dup2(stderr, 2)
        os.close(stderr)
        for fd in servers:
            if fd > 2:
                os.close(fd)
        os.set_inheritable(lifeline, False)
        watch(lifeline)
        env = _read(letter)
        _wear(env[MARK_ENV_VAR])
        _become(env, written)
        _job_subproc_entry.main()
        code = 0
    except BaseException:  # noqa: BLE001 - root of a process
        traceback.print_exc()
    finally:
        _leave(code)


def _read(letter: int) -> dict[str, str]:
    with open(letter, encoding="utf-8") as file:
        file.seek(0)
        return json.load(file)


def _wear(mark: str) -> None:
    # Where the kernel shows the environment of a program; `os.environ` is only a copy of that.
    library = ctypes.CDLL(None)
    library.getenv.restype = ctypes.c_void_p
    address = library.getenv(MARK_ENV_VAR.encode())
    if address and len(ctypes.string_at(address)) == len(mark):
        ctypes.memmove(address, mark.encode(), len(mark))


def _become(env: Mapping[str, str], written: Mapping[str, str | None]) -> None:
    os.environ.clear()
    os.environ.update(env)
    for name, value in written.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    time.tzset()
    # `random` and MLflow's tracing see to theirs after each fork.
    if numpy_random := sys.modules.get("numpy.random"):
        numpy_random.seed()
    # Was made with a key that the server does not have.
    SqlWebhook.__table__.c.secret.type.cipher = EncryptedString().cipher
    # As `python -m` would; processes that the job starts import this module again.
    sys.modules["__main__"] = _job_subproc_entry
    sys.argv = [_job_subproc_entry.__file__]


def _leave(code: int) -> NoReturn:
    try:
        threading._shutdown()
        atexit._run_exitfuncs()
    except BaseException:  # noqa: BLE001 - what other code wants to run last may raise anything
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (AttributeError, OSError, ValueError):
                # Closed, or not there.
                pass
        os._exit(code)
