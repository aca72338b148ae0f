"""The built wheel: what it is called, what it requires, what it holds, and the same bytes again."""

import csv
import email
import re
import zipfile

import pytest
from packaging.requirements import Requirement

from dev.build.backend import build_sdist, build_wheel
from dev.build.base import record_digest
from dev.build.environment import BUILD_TOOLS
from dev.build.overlay import DROPPED
from dev.build.project import ROOT, read_base, read_requirements

DIST_INFO = "mlflow-3.18.0+jobs.1.dist-info"


@pytest.fixture(scope="session")
def metadata(built_files):
    return email.message_from_bytes(built_files[f"{DIST_INFO}/METADATA"])


@pytest.fixture(scope="session")
def base_metadata(base_tree):
    return email.message_from_bytes(base_tree[f"{read_base().dist_info}/METADATA"])


def unconditional(metadata):
    lines = metadata.get_all("Requires-Dist")
    return {line for line in lines if "extra ==" not in line}


def of_extras(metadata):
    return [line for line in metadata.get_all("Requires-Dist") if "extra ==" in line]


def test_the_wheel_is_the_same_byte_for_byte_from_two_builds(built_wheel, tmp_path):
    assert (tmp_path / build_wheel(tmp_path)).read_bytes() == built_wheel.read_bytes()


def test_nothing_in_the_wheel_depends_on_when_or_in_which_order_it_was_written(built_wheel):
    with zipfile.ZipFile(built_wheel) as wheel:
        entries = wheel.infolist()
    names = [entry.filename for entry in entries]
    assert names == sorted(names, key=lambda name: (name.startswith(DIST_INFO), name))
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}


def test_the_sdist_is_the_same_byte_for_byte_from_two_builds(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        name = build_sdist(folder)
    assert (first / name).read_bytes() == (second / name).read_bytes()


def test_the_distribution_is_named_mlflow_and_only_its_metadata_has_the_label(
    metadata, built_files
):
    assert (metadata["Name"], metadata["Version"]) == ("mlflow", "3.18.0+jobs.1")
    assert re.search(rb'^VERSION = "3\.18\.0"$', built_files["mlflow/version.py"], re.MULTILINE)


def test_it_requires_what_the_base_and_its_split_require_and_croniter(metadata, base_metadata):
    required = unconditional(metadata)
    dropped = {"mlflow-skinny==3.18.0", "mlflow-tracing==3.18.0", "huey<4,>=2.5.4"}
    of_base = unconditional(base_metadata)
    assert dropped <= of_base
    assert of_base - dropped <= required
    assert len(required) == 38 + 1
    assert required == set(read_requirements())
    assert "croniter" in {Requirement(line).name for line in required}


def test_extras_and_all_other_fields_stay_the_bases(metadata, base_metadata):
    assert of_extras(metadata) == of_extras(base_metadata)
    own = {"Version", "Requires-Dist"}
    others = [item for item in metadata.items() if item[0] not in own]
    assert others == [item for item in base_metadata.items() if item[0] not in own]


def test_the_bases_entry_points_are_kept(built_files, base_tree):
    kept = base_tree[f"{read_base().dist_info}/entry_points.txt"].rstrip()
    assert built_files[f"{DIST_INFO}/entry_points.txt"].startswith(kept)


def test_the_record_names_every_file_with_its_digest_and_size(built_files):
    record = built_files[f"{DIST_INFO}/RECORD"].decode().splitlines()
    rows = {name: (digest, size) for name, digest, size in csv.reader(record)}
    assert rows.pop(f"{DIST_INFO}/RECORD") == ("", "")
    assert rows == {
        name: (record_digest(content), str(len(content)))
        for name, content in built_files.items()
        if name != f"{DIST_INFO}/RECORD"
    }


def test_no_file_names_huey(built_files):
    naming = [
        name
        for name, content in built_files.items()
        if name.endswith(".py") and re.search(rb"^\s*(from|import) huey\b", content, re.MULTILINE)
    ]
    assert naming == []
    assert not set(DROPPED) & set(built_files)


def test_no_edit_or_cache_is_shipped(built_files):
    assert [name for name in built_files if name.endswith((".edits.yml", ".pyc"))] == []


def test_only_scripts_are_executable(built_wheel):
    with zipfile.ZipFile(built_wheel) as wheel:
        for entry in wheel.infolist():
            executable = bool((entry.external_attr >> 16) & 0o111)
            assert executable == wheel.read(entry).startswith(b"#!"), entry.filename


def test_the_tools_named_twice_are_named_alike():
    lines = (ROOT / "pyproject.toml").read_text()
    required = re.search(r"^requires = \[(.+)\]$", lines, re.MULTILINE)[1]
    assert required == ", ".join(f'"{tool}"' for tool in BUILD_TOOLS)
