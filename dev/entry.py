"""What the commands of dev/ begin with: an environment that has the fork and their tools."""

import os
from typing import NoReturn

from dev.build.environment import ensure_environment
from dev.build.project import ROOT, read_requirements
from dev.serving import clean_environment


def run_in_environment(
    module: str, arguments: list[str], *, live: bool = False, env: dict[str, str] | None = None
) -> NoReturn:
    """Replaces this process by `python -m module` in an environment below `build/`.

    Args:
        module: What to run.
        arguments: Its arguments.
        live: Use the files of this tree as they are instead of the built wheel.
        env: Variables beside the cleaned environment.
    """
    python = ensure_environment(
        ROOT / "build" / ("live" if live else "env"),
        requirements=read_requirements(ROOT / "dev"),
        live=live,
        progress=_progress,
    )
    os.chdir(ROOT)
    os.execve(python, [str(python), "-m", module, *arguments], clean_environment(env))


def _progress(text: str) -> None:
    print(text, flush=True)
