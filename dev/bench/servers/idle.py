"""What a server that has nothing to do costs: processes, memory, CPU, statements."""

import os
import re
import time
from collections import Counter
from pathlib import Path

from dev.serving import Server

_STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]*): (?P<text>.*)")
_LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d+\b")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def statement_log_options(directory: Path) -> list[str]:
    """Returns the arguments with which PostgreSQL logs into the directory, once it is told what."""
    directory.chmod(0o777)
    settings = {
        "logging_collector": "on",
        "log_directory": directory,
        "log_filename": "statements.log",
        "log_file_mode": "0644",
    }
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def statements_during(directory: Path, seconds: float) -> Counter[str]:
    """Returns statement (its literals masked) -> how often it ran while we waited."""
    log = directory / "statements.log"
    with log.open(errors="replace") as lines:
        lines.seek(0, 2)
        time.sleep(seconds)
        matches = (_STATEMENT.search(line) for line in lines)
        return Counter(_LITERAL.sub("?", match["text"])[:120] for match in matches if match)


def memory_mib(server: Server) -> float:
    """Returns the proportional set size of all of the server's processes."""
    return sum(_pss_kib(pid) for pid in server.processes()) / 1024


def cpu_seconds(server: Server) -> float:
    """Returns the CPU time of all of the server's processes, and of their children that ended."""
    return sum(_cpu_ticks(pid) for pid in server.processes()) / _TICKS_PER_SECOND


def _pss_kib(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))


def _cpu_ticks(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    # The command in parentheses may hold blanks. The times are fields 14 to 17.
    return sum(int(field) for field in stat.rpartition(")")[2].split()[11:15])
