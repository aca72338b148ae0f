"""The built tree: the base less what is dropped, the project's files over it, the edits applied."""

from collections.abc import Iterator
from pathlib import Path

from dev.build.base import Tree
from dev.build.edits import SUFFIX, Edit, apply_edits, load_edits
from dev.build.errors import OverlayConflict
from dev.build.project import files_below

DROPPED = (
    "mlflow/server/jobs/_executor_runner.py",
    "mlflow/server/jobs/_huey_consumer.py",
    "mlflow/server/jobs/_job_runner.py",
    "mlflow/server/jobs/_periodic_tasks_consumer.py",
)

# MLflow's own Alembic chain, and the environment of what the fork adds beyond it.
CHAIN = "mlflow/store/db_migrations/versions"
JOBS_ENVIRONMENT = "mlflow/store/jobs/migrations"


def own_files(root: Path) -> dict[str, Path]:
    """The project's part of the built tree: archive path -> the file it is read from."""
    return dict(_placed(root))


def build_tree(base: Tree, root: Path) -> Tree:
    """The content of the package folder `mlflow/`, as it is installed. Raises as `overlay` does."""
    own = {name: path.read_bytes() for name, path in own_files(root).items()}
    return overlay(base, own, load_edits(root))


def overlay(base: Tree, own: Tree, edits: dict[str, list[Edit]]) -> Tree:
    """Drop from the base what is dropped, apply the edits, and lay the project's files over it.

    Raises:
        OverlayConflict: the base lacks a file that is dropped or edited, or the project owns a
            file that it also edits or drops.
        EditMismatch: see `apply_edits`.
    """
    tree = {name: content for name, content in base.items() if name.startswith("mlflow/")}
    for name in (*DROPPED, *edits):
        if name not in tree:
            raise OverlayConflict(
                f"{name} is dropped or edited by the project but not in the base."
            )
        if name in own:
            raise OverlayConflict(
                f"{name} is the project's own file and cannot be dropped or edited."
            )
    for name in DROPPED:
        del tree[name]
    for name, its_edits in edits.items():
        tree[name] = apply_edits(tree[name].decode(), its_edits).encode()
    return {**tree, **own}


def _placed(root: Path) -> Iterator[tuple[str, Path]]:
    for path in files_below(root / "mlflow"):
        if not path.name.endswith(SUFFIX):
            yield path.relative_to(root).as_posix(), path
    for path in files_below(root / "alembic/versions"):
        if path.suffix == ".py":
            yield f"{CHAIN}/{path.name}", path
    for path in files_below(root / "alembic/jobs"):
        yield f"{JOBS_ENVIRONMENT}/{path.relative_to(root / 'alembic/jobs').as_posix()}", path
