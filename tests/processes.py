"""Look at processes that are not children of the test."""

from pathlib import Path


def is_alive(pid: int) -> bool:
    """Whether there is such a process and it has not ended (Linux)."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # A container without an init process keeps zombies.
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")
