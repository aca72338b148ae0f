"""The base is found or fetched, verified, and every way to fail is one sentence."""

import hashlib
import os
import zipfile

import pytest

from dev.build.base import BASE_VARIABLE, CACHE_VARIABLE, load_base
from dev.build.errors import BaseMismatch, BaseUnavailable
from dev.build.project import Base
from dev.build.wheel import record


def make_wheel(folder, version="3.18.0", text=b"A = 1\n"):
    dist_info = f"mlflow-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: mlflow\nVersion: {version}\n"
    files = {
        "mlflow/a.py": text,
        f"{dist_info}/METADATA": metadata.encode(),
        f"{dist_info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{dist_info}/RECORD"] = record(files, f"{dist_info}/RECORD").encode()
    folder.mkdir(exist_ok=True)
    path = folder / f"mlflow-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip takes for the only package index there is."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(BASE_VARIABLE, raising=False)
    return folder


@pytest.fixture
def base(tmp_path):
    published = make_wheel(tmp_path / "published")
    return Base("mlflow", "3.18.0", hashlib.sha256(published.read_bytes()).hexdigest())


@pytest.fixture
def tree(tmp_path, base, monkeypatch):
    folder = tmp_path / "tree"
    with zipfile.ZipFile(tmp_path / "published" / base.wheel_name) as wheel:
        wheel.extractall(folder)
    monkeypatch.setenv(BASE_VARIABLE, str(folder))
    return folder


def publish(tmp_path, index, base):
    wheel = tmp_path / "published" / base.wheel_name
    return wheel.rename(index / base.wheel_name)


def test_the_base_is_fetched_once_and_then_taken_from_the_cache(tmp_path, index, base):
    published = publish(tmp_path, index, base)
    assert load_base(base)["mlflow/a.py"] == b"A = 1\n"
    published.unlink()
    assert load_base(base)["mlflow/a.py"] == b"A = 1\n"


def test_a_cache_cut_short_is_said_and_fetched_again(tmp_path, index, base, capfd):
    publish(tmp_path, index, base)
    cached = tmp_path / "cache" / base.wheel_name
    load_base(base)
    cached.write_bytes(cached.read_bytes()[:100])
    assert load_base(base)["mlflow/a.py"] == b"A = 1\n"
    assert f"The cached {cached} is damaged or cut short" in capfd.readouterr().err


def test_without_an_index_the_error_says_what_to_name_instead(index, base):
    with pytest.raises(BaseUnavailable, match=f"set {BASE_VARIABLE} to {base.wheel_name}"):
        load_base(base)


def test_an_index_that_serves_another_file_is_refused_and_nothing_is_kept(tmp_path, index, base):
    make_wheel(index, text=b"A = 2\n")
    with pytest.raises(BaseMismatch, match=base.sha256):
        load_base(base)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_named_wheel_of_another_version_is_refused_by_its_version(tmp_path, base, monkeypatch):
    monkeypatch.setenv(BASE_VARIABLE, str(make_wheel(tmp_path, version="3.17.2")))
    with pytest.raises(
        BaseMismatch, match=r"is mlflow 3\.17\.2, but this fork is laid over 3\.18\.0"
    ):
        load_base(base)


def test_a_named_wheel_with_another_hash_is_refused(tmp_path, base, monkeypatch):
    monkeypatch.setenv(BASE_VARIABLE, str(make_wheel(tmp_path, text=b"A = 2\n")))
    with pytest.raises(BaseMismatch, match=f"base.txt names {base.sha256}"):
        load_base(base)


def test_a_named_place_without_anything_is_refused(tmp_path, base, monkeypatch):
    monkeypatch.setenv(BASE_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(BaseUnavailable, match="neither a wheel nor a tree"):
        load_base(base)


def test_a_named_tree_gives_what_the_wheel_gives(tree, base, tmp_path, monkeypatch):
    from_tree = load_base(base)
    monkeypatch.setenv(BASE_VARIABLE, str(tmp_path / "published" / base.wheel_name))
    assert from_tree == load_base(base)


def test_a_changed_file_of_a_named_tree_is_refused_by_name(tree, base):
    (tree / "mlflow/a.py").write_text("A = 2\n")
    with pytest.raises(BaseMismatch, match="mlflow/a.py was changed"):
        load_base(base)


def test_a_named_tree_that_lacks_a_file_is_refused_by_name(tree, base):
    (tree / "mlflow/a.py").unlink()
    with pytest.raises(BaseMismatch, match="lacks mlflow/a.py"):
        load_base(base)


def test_a_named_tree_of_another_version_is_refused_by_its_version(tree, base):
    (tree / "mlflow-3.18.0.dist-info").rename(tree / "mlflow-3.17.2.dist-info")
    with pytest.raises(BaseMismatch, match=r"holds mlflow-3\.17\.2\.dist-info"):
        load_base(base)
