"""The patch series: the built tree as commits on the pristine base, one for each topic.

What differs from the built tree is declared here. The second Alembic environment is left out:
its revisions continue MLflow's own chain instead, and edits marked `series: false` stay away.
"""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from dev.build.base import Tree, load_base
from dev.build.edits import load_edits
from dev.build.errors import BuildError, UnassignedFile
from dev.build.overlay import CHAIN, JOBS_ENVIRONMENT, overlay, own_files
from dev.build.project import ROOT, files_below, read_base

_BASE_TAG = "base"
_ASSIGNED = r"^{name}(?:\s*:[^=\n]+)?\s*=\s*(.+?)\s*$"


@dataclass(frozen=True)
class Topic:
    """One patch: its commit message, and globs of the files that belong to it."""

    subject: str
    body: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What dev/series.yml says: whose patches, when, which topics, and what stays at home."""

    author: str
    email: str
    date: str
    left_out: tuple[str, ...]
    topics: tuple[Topic, ...]


def export_series(out: Path, root: Path = ROOT) -> list[Path]:
    """Write the series as numbered patches into a folder, replacing the patches there.

    Raises:
        UnassignedFile: a file belongs to no topic, or equally well to two.
        BuildError: git failed, or the jobs revisions are not one line.
    """
    plan = read_plan(root)
    base = {
        name: content
        for name, content in load_base(read_base(root)).items()
        if name.startswith("mlflow/")
    }
    changes = _changes(base, series_tree(base, root, plan))
    assigned = [topic_of(name, plan) for name in changes]
    out.mkdir(parents=True, exist_ok=True)
    for patch in out.glob("[0-9]*.patch"):
        patch.unlink()
    with tempfile.TemporaryDirectory() as folder:
        repository = _Repository(Path(folder), plan)
        repository.commit(base, "The base release.")
        repository.tag(_BASE_TAG)
        for topic in plan.topics:
            mine = {
                name: content
                for (name, content), its_topic in zip(changes.items(), assigned, strict=True)
                if its_topic is topic
            }
            if mine:
                repository.commit(mine, f"{topic.subject}\n\n{topic.body.strip()}")
        repository.write_patches(out.absolute())
    return sorted(out.glob("[0-9]*.patch"))


def read_plan(root: Path) -> Plan:
    """Read dev/series.yml."""
    plan = yaml.safe_load((root / "dev/series.yml").read_text())
    topics = tuple(
        Topic(subject=entry["subject"], body=entry["body"], files=tuple(entry["files"]))
        for entry in plan["topics"]
    )
    return Plan(
        author=plan["author"],
        email=plan["email"],
        date=plan["date"],
        left_out=tuple(plan["left_out"]),
        topics=topics,
    )


def series_tree(base: Tree, root: Path, plan: Plan) -> Tree:
    """The tree that the series ends in: `mlflow/` and the tests and docs that go with it."""
    own = {name: path.read_bytes() for name, path in own_files(root).items()}
    revisions = {
        Path(name).name: text.decode()
        for name, text in own.items()
        if name.startswith(f"{JOBS_ENVIRONMENT}/versions/")
        and _assigned(text.decode(), "revision") is not None
    }
    own = {name: text for name, text in own.items() if not name.startswith(f"{JOBS_ENVIRONMENT}/")}
    edits = {
        target: [edit for edit in its_edits if edit.series]
        for target, its_edits in load_edits(root).items()
    }
    tree = overlay(base, own, {target: kept for target, kept in edits.items() if kept})
    head = _only_head({name: tree[name].decode() for name in tree if _is_revision(name)})
    for name, text in _reparented(revisions, head).items():
        tree[f"{CHAIN}/{name}"] = text.encode()
    for folder in ("tests", "docs"):
        for path in files_below(root / folder):
            name = path.relative_to(root).as_posix()
            if not any(fnmatchcase(name, pattern) for pattern in plan.left_out):
                tree[name] = path.read_bytes()
    return tree


def _is_revision(name: str) -> bool:
    return name.startswith(f"{CHAIN}/") and name.endswith(".py")


def _only_head(revisions: dict[str, str]) -> str:
    known = {_assigned(text, "revision") for text in revisions.values()}
    parents = {_assigned(text, "down_revision") for text in revisions.values()}
    heads = known - parents - {None}
    if len(heads) != 1:
        raise BuildError(f"MLflow's revisions must end in one head, and end in {sorted(heads)}.")
    return heads.pop()


def _reparented(revisions: dict[str, str], head: str) -> dict[str, str]:
    """The revisions with the first one, which has no parent, put on MLflow's head."""
    reparented = {}
    first = [name for name, text in revisions.items() if _assigned(text, "down_revision") is None]
    if revisions and len(first) != 1:
        raise BuildError(f"One jobs revision must have no parent, and these have none: {first}.")
    for name, text in revisions.items():
        if name in first:
            pattern = re.compile(_ASSIGNED.format(name="down_revision"), re.MULTILINE)
            text = pattern.sub(f'down_revision = "{head}"', text)
            text = re.sub(r"^Revises:.*$", f"Revises: {head}", text, flags=re.MULTILINE)
        reparented[name] = text
    return reparented


def _assigned(text: str, name: str) -> str | None:
    found = re.search(_ASSIGNED.format(name=name), text, re.MULTILINE)
    value = found[1].strip("\"'") if found else "None"
    return None if value == "None" else value


def _changes(base: Tree, tree: Tree) -> dict[str, bytes | None]:
    """Path -> new content, or None where the file goes away; sorted by path."""
    return {
        name: tree.get(name) for name in sorted({*base, *tree}) if base.get(name) != tree.get(name)
    }


def topic_of(name: str, plan: Plan) -> Topic:
    """The topic with the longest glob that matches, so that a file can be named before a folder."""
    matching = [
        (len(pattern), topic)
        for topic in plan.topics
        for pattern in topic.files
        if fnmatchcase(name, pattern)
    ]
    best = max((length for length, _ in matching), default=0)
    topics = [topic for length, topic in matching if length == best]
    if len(topics) != 1:
        subjects = " and ".join(f"'{topic.subject}'" for topic in topics) or "no topic"
        raise UnassignedFile(f"{name} belongs to {subjects}; say in dev/series.yml to which one.")
    return topics[0]


class _Repository:
    """A throw-away repository whose commits depend on nothing but their content."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._folder = folder
        person = {"NAME": plan.author, "EMAIL": plan.email, "DATE": plan.date}
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            **{
                f"GIT_{who}_{key}": person[key] for who in ("AUTHOR", "COMMITTER") for key in person
            },
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        self._git("init", "--quiet")

    def commit(self, changes: dict[str, bytes | None], message: str) -> None:
        for name, content in changes.items():
            path = self._folder / name
            if content is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        self._git("add", "--all", "--force")
        self._git("commit", "--quiet", "--no-verify", "--signoff", f"--message={message}")

    def tag(self, name: str) -> None:
        self._git("tag", name)

    def write_patches(self, out: Path) -> None:
        options = ["--quiet", "--no-signature", "--zero-commit", "--full-index", "--binary"]
        options += ["--no-renames", f"--output-directory={out}"]
        self._git("format-patch", *options, f"{_BASE_TAG}..HEAD")

    def _git(self, *arguments: str) -> None:
        git = shutil.which("git")
        if git is None:
            raise BuildError("The patch series needs git; install it.")
        done = subprocess.run(
            [git, *arguments],
            cwd=self._folder,
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            raise BuildError(f"git {arguments[0]} failed: {said}")
