"""From the fork to the first line of a job: make a copy of the fork server a process of its own.

What a fresh interpreter would have of its own is made anew here: session, environment, random
numbers, what was derived from a secret. The copy ends without taking the interpreter apart, which
would copy all the memory that it shares with the server.
"""

import atexit
import contextlib
import ctypes
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Mapping
from typing import NoReturn

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import configure_mappers

from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR
from mlflow.server.jobs import _job_subproc_entry
from mlflow.server.jobs.local.child_watch import kernel_kills, watch
from mlflow.server.jobs.local.family import MARK_ENV_VAR
from mlflow.server.jobs.logging_utils import configure_logging_for_jobs
from mlflow.store.model_registry.dbmodels.models import EncryptedString, SqlWebhook

# What the tracking redirect would import in each job.
from mlflow.tracing.processor import base_mlflow, otel  # noqa: F401

_getenv = ctypes.CDLL(None).getenv
_getenv.restype = ctypes.c_void_p


def prepare() -> None:
    """Do in the fork server what each of its children would do alike."""
    configure_logging_for_jobs()
    configure_mappers()
    _import_driver()
    kernel_kills()


def _import_driver() -> None:
    if store := os.environ.get(BACKEND_STORE_URI_ENV_VAR):
        # What cannot be imported is missed by the job that needs it.
        with contextlib.suppress(ImportError, ArgumentError):
            make_url(store).get_dialect().import_dbapi()


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
        watch(lifeline, kernel_kills())
        env = _read(letter)
        _wear(env[MARK_ENV_VAR])
        become(env, written)
        # As `python -m` would; processes that the job starts import this module again.
        sys.modules["__main__"] = _job_subproc_entry
        sys.argv = [_job_subproc_entry.__file__]
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
    address = _getenv(MARK_ENV_VAR.encode())
    if address and len(ctypes.string_at(address)) == len(mark):
        ctypes.memmove(address, mark.encode(), len(mark))


def become(env: Mapping[str, str], written: Mapping[str, str | None]) -> None:
    """Go on as if this process had had this environment from its start.

    Args:
        env: All variables.
        written: What modules wrote to the environment while they were imported.
    """
    wanted = {name: value for name, value in {**env, **written}.items() if value is not None}
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    for name, value in wanted.items():
        # Most are as they were, and what is written to is no longer shared.
        if os.environ.get(name) != value:
            os.environ[name] = value
    time.tzset()
    # `random` and MLflow's tracing see to theirs after each fork.
    if numpy_random := sys.modules.get("numpy.random"):
        numpy_random.seed()
    # Was made with a key that the server does not have.
    SqlWebhook.__table__.c.secret.type.cipher = EncryptedString().cipher


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
