"""A process is known by its mark, however it began; nobody else is taken for it."""

import os
import subprocess
import sys

import pytest

from mlflow.server.jobs.local import family
from mlflow.server.jobs.local.family import Family, mark_of, marked
from tests.processes import is_alive

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")

_MARK = mark_of("MARK", "ours")


@pytest.fixture
def proc(tmp_path, monkeypatch):
    """Shows one process, the way the kernel does."""
    monkeypatch.setattr(family, "_PROC", str(tmp_path))

    def show(environment, state="R", memory=4096, starts=0, ends=0):
        fields = [0] * 50
        fields[0], fields[20], fields[47], fields[48] = state, memory, starts, ends
        folder = tmp_path / "1000000000"
        folder.mkdir()
        (folder / "environ").write_bytes(environment)
        (folder / "stat").write_text(f"1000000000 (a ) name) {' '.join(map(str, fields))}\n")

    return show


@pytest.mark.parametrize(
    "environment",
    [b"MARK=ours\0", b"MARK=ours and more\0", b"OTHER=1\0MARK=ours\0"],
)
def test_a_process_is_known_by_how_a_variable_begins(proc, environment):
    proc(environment)
    assert marked(_MARK) == [1000000000]


@pytest.mark.parametrize("environment", [b"MARK=theirs\0", b"BOOKMARK=ours\0", b"A=1\0"])
def test_another_mark_is_nobody_of_ours(proc, environment):
    proc(environment)
    assert marked(_MARK) == []


@pytest.mark.parametrize(
    "place", [{"starts": 0, "ends": 0}, {"starts": 4096, "ends": 5000}], ids=["new", "just filled"]
)
def test_a_process_that_starts_a_program_may_be_ours(proc, place):
    proc(b"", **place)
    assert marked(_MARK) == [1000000000]


@pytest.mark.parametrize(
    "kind",
    [{"state": "Z"}, {"state": "X"}, {"memory": 0}, {"starts": 4096, "ends": 4096}],
    ids=["ended", "gone", "of the kernel", "started with nothing"],
)
def test_what_will_never_have_an_environment_is_not_waited_for(proc, kind):
    proc(b"", **kind)
    assert marked(_MARK) == []


def _forbidden(*_):
    raise PermissionError("forbidden")


@pytest.mark.parametrize("is_there", [True, False], ids=["forbidden", "not built in"])
def test_a_family_ends_where_processes_have_no_descriptors(monkeypatch, is_there):
    monkeypatch.setattr(os, "pidfd_open", _forbidden, raising=False)
    if not is_there:
        monkeypatch.delattr(os, "pidfd_open")
    own = Family()
    program = subprocess.Popen(["sleep", "600"], env={**os.environ, **own.environment})
    try:
        assert own.end()
        assert not is_alive(program.pid)
    finally:
        program.kill()
        program.wait()


def test_no_program_that_has_just_been_started_is_missed():
    for _ in range(30):
        own = Family()
        program = subprocess.Popen(["sleep", "600"], env={**os.environ, **own.environment})
        try:
            assert own.end()
            assert not is_alive(program.pid)
        finally:
            program.kill()
            program.wait()
