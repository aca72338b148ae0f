"""What an idle server costs: processes, memory, statements."""

import re
import time
from collections import Counter
from pathlib import Path

from dev.serving import Server

_STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]*): (?P<text>.*)")
_LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d+\b")


def statement_log_options(directory: Path) -> list[str]:
    """Returns the arguments that make PostgreSQL log each statement into the directory."""
    directory.chmod(0o777)
    settings = {
        "log_statement": "all",
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


def _pss_kib(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
