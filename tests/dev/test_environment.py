"""Environments are made once and changed only by what changed; failures are one sentence."""

import importlib.metadata
import os

import pytest

from dev.build.environment import ensure_environment, ensure_tools, fork_inputs
from dev.build.live import link
from dev.build.project import ROOT


@pytest.fixture
def root(tmp_path):
    for name in ("mlflow/a.py", "mlflow/a.edits.yml", "alembic/jobs/env.py", "dev/build/b.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "live", "stale"),
    [
        ("mlflow/a.py", False, True),
        ("mlflow/a.py", True, False),
        ("mlflow/a.edits.yml", True, True),
        ("mlflow/new.py", True, True),
        ("alembic/jobs/env.py", True, False),
        ("dev/build/b.py", True, True),
        ("base.txt", False, True),
        ("mlflow/__pycache__/a.pyc", False, False),
        ("tests/test_a.py", False, False),
    ],
)
def test_an_installed_fork_is_stale_when_what_it_was_made_from_changed(root, changed, live, stale):
    before = list(fork_inputs(root, live))
    (root / changed).parent.mkdir(parents=True, exist_ok=True)
    (root / changed).write_text("2")
    assert (list(fork_inputs(root, live)) != before) is stale


def test_a_linked_and_an_installed_fork_are_told_apart(root):
    assert list(fork_inputs(root, live=True)) != list(fork_inputs(root, live=False))


def test_a_folder_that_is_no_environment_is_left_as_it_is(tmp_path):
    (tmp_path / "precious").write_text("1")
    with pytest.raises(SystemExit, match="is no virtual environment"):
        ensure_environment(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_requirements_that_cannot_be_had_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    steps = []
    with pytest.raises(SystemExit, match="Could not install the requirements") as caught:
        ensure_tools(tmp_path / "environment", progress=steps.append)
    assert "\n" not in str(caught.value)
    assert len(steps) == 2


def test_a_linked_tree_shows_edits_of_our_files_and_carries_the_edited_base(tmp_path):
    site, scripts = tmp_path / "site", tmp_path / "bin"
    scripts.mkdir()
    (site / "mlflow").mkdir(parents=True)
    (site / "mlflow/left_over.py").write_text("")
    link(site, scripts, "/usr/bin/python3")
    own = site / "mlflow/store/jobs/values.py"
    assert own.resolve() == ROOT / "mlflow/store/jobs/values.py"
    edited = site / "mlflow/tracing/trace_rollup_service.py"
    assert not edited.is_symlink()
    assert "mlflow.server.jobs.cron import crontab" in edited.read_text()
    assert not (site / "mlflow/left_over.py").exists()
    assert (scripts / "mlflow").read_text().startswith("#!/usr/bin/python3\n")
    (linked,) = importlib.metadata.distributions(name="mlflow", path=[str(site)])
    assert linked.version == "3.18.0+jobs.1"
    assert all(linked.locate_file(file).exists() for file in linked.files)
    of_own_file = [file for file in linked.files if str(file) == "mlflow/store/jobs/values.py"]
    assert [file.hash for file in of_own_file] == [None]
