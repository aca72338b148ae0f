"""Folders of jobs are private, and removed whether or not their runner could do it."""

import os
import stat
import subprocess
import sys

import pytest

from mlflow.server.jobs.local.job_folders import JobFolders, remove_abandoned

RUNNER = """
import signal
from mlflow.server.jobs.local.job_folders import JobFolders
folder = JobFolders().make()
print(folder.name, flush=True)
signal.pause()
"""


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def folders():
    folders = JobFolders()
    yield folders
    folders.remove()


def test_nobody_else_can_enter_a_folder(folders, scratch):
    os.umask(os.umask(0o000))
    with folders.make() as folder:
        [root] = scratch.iterdir()
        assert stat.S_IMODE(root.stat().st_mode) == stat.S_IMODE(os.stat(folder).st_mode) == 0o700


def test_the_folders_of_a_killed_runner_are_removed_and_those_of_a_living_one_are_not(scratch):
    runner = subprocess.Popen([sys.executable, "-c", RUNNER], stdout=subprocess.PIPE, text=True)
    try:
        folder = runner.stdout.readline().strip()
        assert remove_abandoned() == 0
        assert os.path.isdir(folder)
    finally:
        runner.kill()
        runner.wait()
        runner.stdout.close()
    assert remove_abandoned() == 1
    assert list(scratch.iterdir()) == []


def test_what_is_not_a_runners_folder_is_left_alone(scratch):
    (scratch / "mlflow-job-runner-file").touch()
    (scratch / "elsewhere").mkdir()
    (scratch / "mlflow-job-runner-link").symlink_to(scratch / "elsewhere")
    assert remove_abandoned() == 0
    assert len(list(scratch.iterdir())) == 3


def test_removing_leaves_nothing_and_a_later_job_has_a_folder_again(folders, scratch):
    folders.make()
    folders.remove()
    assert list(scratch.iterdir()) == []
    with folders.make() as folder:
        assert os.path.isdir(folder)


def test_a_folder_that_was_removed_under_a_runner_is_made_again(folders, scratch):
    folders.make().cleanup()
    [root] = scratch.iterdir()
    root.rmdir()
    with folders.make() as folder:
        assert os.path.isdir(folder)
    assert remove_abandoned() == 0
