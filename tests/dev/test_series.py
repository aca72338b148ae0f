"""The patch series applies on the pristine base and ends in the built tree, as declared."""

import re
import shutil
import subprocess

import pytest

from dev.build.errors import UnassignedFile
from dev.build.overlay import CHAIN, JOBS_ENVIRONMENT, build_tree
from dev.build.project import ROOT
from dev.build.series import Plan, Topic, export_series, topic_of

UPSTREAM_HEAD = "f4a9b2c7d1e6"
# Where an edit applies the second Alembic environment, which the series does not have.
CHANGED = {"mlflow/store/db/utils.py"}


def git(folder, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@localhost", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tree_below(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of this repository, so that an edit meanwhile does not tell two exports apart."""
    folder = tmp_path_factory.mktemp("project") / "project"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "build", "__pycache__"))
    return folder


@pytest.fixture(scope="module")
def patches(tmp_path_factory, project):
    return export_series(tmp_path_factory.mktemp("series"), project)


@pytest.fixture(scope="module")
def applied(tmp_path_factory, base_tree, patches):
    """The base as a repository, with every patch of the series applied by `git am`."""
    folder = tmp_path_factory.mktemp("pristine")
    for name, content in base_tree.items():
        if name.startswith("mlflow/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--message=base")
    git(folder, "am", "--quiet", *map(str, patches))
    return folder


def revisions(tree):
    """Revision -> its parent, of every file in MLflow's chain."""
    found = {}
    for name, content in tree.items():
        if name.startswith(f"{CHAIN}/") and name.endswith(".py"):
            text = content.decode()
            revision = re.search(r'^revision = "(\w+)"', text, re.MULTILINE)
            parent = re.search(r'^down_revision = (?:"(\w+)"|None)', text, re.MULTILINE)
            if revision is not None:
                found[revision[1]] = parent[1]
    return found


def test_the_series_yields_the_built_tree_but_for_the_declared_migrations(
    applied, base_tree, project
):
    series = {
        name: text for name, text in tree_below(applied).items() if name.startswith("mlflow/")
    }
    built = build_tree(base_tree, project)
    environment = {name for name in built if name.startswith(f"{JOBS_ENVIRONMENT}/")}
    moved = {
        f"{CHAIN}/{name.rpartition('/')[2]}"
        for name in environment
        if name.startswith(f"{JOBS_ENVIRONMENT}/versions/") and not name.endswith("__init__.py")
    }
    assert moved
    assert set(built) - set(series) == environment
    assert set(series) - set(built) == moved
    assert {name for name in set(series) & set(built) if series[name] != built[name]} == CHANGED


def test_the_jobs_revisions_continue_mlflows_chain_and_end_in_one_head(applied, base_tree):
    before, after = revisions(base_tree), revisions(tree_below(applied))
    added = set(after) - set(before)
    assert added
    assert set(before) - set(before.values()) == {UPSTREAM_HEAD}
    assert [name for name in added if after[name] == UPSTREAM_HEAD] != []
    (head,) = set(after) - set(after.values())
    assert head in added


def test_what_the_series_does_not_apply_is_not_called(applied, base_tree):
    for name in CHANGED:
        assert (applied / name).read_bytes() == base_tree[name]


def test_every_patch_is_signed_off_and_two_exports_are_alike(patches, project, tmp_path):
    shutil.copy(patches[0], tmp_path / "0099-of-an-earlier-export.patch")
    texts = [patch.read_text() for patch in patches]
    assert all(re.search(r"^Signed-off-by: .+ <.+@.+>$", text, re.MULTILINE) for text in texts)
    assert [patch.read_text() for patch in export_series(tmp_path, project)] == texts


def plan(*globs):
    topics = tuple(Topic(subject=glob, body="", files=(glob,)) for glob in globs)
    return Plan(author="", email="", date="", left_out=(), topics=topics)


@pytest.mark.parametrize(
    ("name", "globs", "chosen"),
    [
        ("mlflow/a.py", ["mlflow/*"], "mlflow/*"),
        ("mlflow/b/a.py", ["mlflow/*", "mlflow/b/*"], "mlflow/b/*"),
        ("mlflow/b/a.py", ["mlflow/b/a.py", "mlflow/*", "mlflow/b/*"], "mlflow/b/a.py"),
    ],
)
def test_the_longest_glob_gives_a_file_its_topic(name, globs, chosen):
    assert topic_of(name, plan(*globs)).subject == chosen


@pytest.mark.parametrize("globs", [["tests/*"], ["mlflow/*", "*flow.py"]])
def test_a_file_of_no_topic_or_of_two_stops_the_export_and_is_named(globs):
    with pytest.raises(UnassignedFile, match="mlflow/flow.py belongs to"):
        topic_of("mlflow/flow.py", plan(*globs))
