"""The build: the hooks that pip, build and uv call, where pyproject.toml says they are."""

import sys

if __name__ == "__main__":
    sys.exit("error: setup.py has no commands of its own; run `pip install .` or `pip wheel .`")

from dev.build.backend import (
    build_editable,
    build_sdist,
    build_wheel,
    prepare_metadata_for_build_wheel,
)

__all__ = ["build_editable", "build_sdist", "build_wheel", "prepare_metadata_for_build_wheel"]
