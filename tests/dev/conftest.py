"""What the build's tests share: the real base and one wheel built from this repository."""

import zipfile

import pytest

from dev.build.backend import build_wheel
from dev.build.base import load_base
from dev.build.project import read_base


@pytest.fixture(scope="session")
def base_tree():
    return load_base(read_base())


@pytest.fixture(scope="session")
def built_wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    return folder / build_wheel(folder)


@pytest.fixture(scope="session")
def built_files(built_wheel):
    with zipfile.ZipFile(built_wheel) as wheel:
        return {name: wheel.read(name) for name in wheel.namelist()}
