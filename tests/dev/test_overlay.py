"""The built tree is the base, less what is dropped, with edits and the project's files."""

import pytest

from dev.build.errors import OverlayConflict
from dev.build.overlay import DROPPED, build_tree

DIST_INFO = "mlflow-3.18.0.dist-info/METADATA"
EDIT = "- {name: an-edit, symbol: A, why: '-', comment: '# B'}\n"


@pytest.fixture
def base():
    return {
        **dict.fromkeys(DROPPED, b""),
        "mlflow/a.py": b"A = 1\n",
        "mlflow/b.py": b"",
        DIST_INFO: b"",
    }


@pytest.fixture
def root(tmp_path):
    write(tmp_path, "mlflow/b.py", "B = 2\n")
    return tmp_path


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_projects_file_replaces_the_bases(base, root):
    assert build_tree(base, root)["mlflow/b.py"] == b"B = 2\n"


def test_what_is_dropped_is_gone_and_the_rest_stays(base, root):
    assert sorted(build_tree(base, root)) == ["mlflow/a.py", "mlflow/b.py"]


def test_an_edit_is_applied_and_does_not_itself_become_a_file(base, root):
    write(root, "mlflow/a.edits.yml", EDIT)
    tree = build_tree(base, root)
    assert tree["mlflow/a.py"].startswith(b"# B\nA = 1\n")
    assert sorted(tree) == ["mlflow/a.py", "mlflow/b.py"]


@pytest.mark.parametrize(
    "name", ["mlflow/__pycache__/b.pyc", "mlflow/.b.py.swp", "mlflow/c/.cache/d"]
)
def test_caches_and_hidden_files_are_left_out(base, root, name):
    write(root, name, "")
    assert sorted(build_tree(base, root)) == ["mlflow/a.py", "mlflow/b.py"]


def test_revisions_land_in_the_chain_and_the_jobs_environment_in_the_store(base, root):
    write(root, "alembic/versions/dc_first.py", "C = 3\n")
    write(root, "alembic/jobs/env.py", "D = 4\n")
    write(root, "alembic/jobs/versions/ab_second.py", "E = 5\n")
    tree = build_tree(base, root)
    assert tree["mlflow/store/db_migrations/versions/dc_first.py"] == b"C = 3\n"
    assert tree["mlflow/store/jobs/migrations/env.py"] == b"D = 4\n"
    assert tree["mlflow/store/jobs/migrations/versions/ab_second.py"] == b"E = 5\n"


@pytest.mark.parametrize("target", ["b", "gone"])
def test_an_edit_of_an_owned_or_a_missing_file_stops_the_build(base, root, target):
    write(root, f"mlflow/{target}.edits.yml", EDIT)
    with pytest.raises(OverlayConflict, match=f"mlflow/{target}.py"):
        build_tree(base, root)


def test_a_base_without_a_file_that_is_dropped_stops_the_build(base, root):
    del base[DROPPED[0]]
    with pytest.raises(OverlayConflict, match=DROPPED[0]):
        build_tree(base, root)
