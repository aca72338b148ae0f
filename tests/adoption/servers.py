"""Servers of the fork and of released MLflow that know the sample jobs of the adoption tests."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

import pytest

from dev.serving import Server, clean_environment
from dev.testing.litellm_folder import LitellmUnavailable, litellm_folder
from dev.testing.releases import ReleaseUnavailable, release_env

_NAMES = ("add", "hold", "note", "wander")
_JOBS = {
    "PYTHONPATH": str(Path(__file__).parent),
    "_MLFLOW_SUPPORTED_JOB_FUNCTION_LIST": ",".join(f"adoption_jobs.{name}" for name in _NAMES),
    "_MLFLOW_ALLOWED_JOB_NAME_LIST": ",".join(f"adoption_{name}" for name in _NAMES),
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def _merged(*environments: Mapping[str, str]) -> dict[str, str]:
    paths = [env["PYTHONPATH"] for env in environments if "PYTHONPATH" in env]
    merged = {name: value for env in environments for name, value in env.items()}
    return merged | {"PYTHONPATH": os.pathsep.join(paths)}


def fork_server(directory: Path, env: Mapping[str, str] | None = None, **options) -> Server:
    """Returns a server of the installed fork, not started yet, that knows the sample jobs."""
    return Server(directory, env=_merged(_JOBS, env or {}), **options)


def released_server(version: str, directory: Path, env: Mapping[str, str] | None = None) -> Server:
    """Returns a server of a released MLflow, not started yet, that knows the sample jobs."""
    return Server(directory, env=_merged(released(version), _JOBS, env or {}))


def released(version: str) -> dict[str, str]:
    """Returns the variables of a released MLflow; skips loudly where it cannot be fetched."""
    try:
        return release_env(version)
    except ReleaseUnavailable as error:
        _do_without(str(error))


def with_litellm() -> dict[str, str]:
    """Returns the variables of a server that has litellm; skips loudly if it cannot be had."""
    try:
        return {"PYTHONPATH": str(litellm_folder())}
    except LitellmUnavailable as error:
        _do_without(str(error))


def _do_without(reason: str) -> NoReturn:
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason)
    pytest.skip(reason)


def run_python(directory: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Runs `python <arguments>` in the directory and returns what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env=clean_environment({"MLFLOW_DISABLE_TELEMETRY": "true", **(env or {})}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wait_for(condition: Callable[[], bool], what: str, timeout_seconds: float = 60.0) -> None:
    """Returns once the condition holds; fails the test when it does not in time."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {timeout_seconds:.0f} s")
        time.sleep(0.05)
