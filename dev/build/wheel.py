"""Write a tree as a wheel, the same bytes each time."""

import csv
import io
import zipfile
from pathlib import Path

from dev.build.base import Tree, record_digest
from dev.build.project import Base

# The earliest instant that a zip archive can hold.
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
_FILE, _SCRIPT = 0o100644 << 16, 0o100755 << 16


def wheel_name(base: Base) -> str:
    """The file name of the fork's wheel."""
    return f"{base.name}-{base.fork_version}-py3-none-any.whl"


def write_wheel(path: Path, files: Tree, dist_info: str) -> None:
    """Write files, and the RECORD of them, as a wheel at `path`."""
    record_name = f"{dist_info}/RECORD"
    content = {**files, record_name: record(files, record_name).encode()}
    # The metadata comes last, as the wheel format recommends.
    names = sorted(content, key=lambda name: (name.startswith(dist_info), name))
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo(name, _TIMESTAMP)
            entry.create_system = 3
            entry.external_attr = _SCRIPT if content[name].startswith(b"#!") else _FILE
            archive.writestr(entry, content[name], zipfile.ZIP_DEFLATED, compresslevel=6)


def record(files: Tree, record_name: str) -> str:
    """The text of RECORD: path, digest and size of each file, and its own bare line."""
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    for name in sorted(files):
        writer.writerow([name, record_digest(files[name]), len(files[name])])
    writer.writerow([record_name, "", ""])
    return rows.getvalue()
