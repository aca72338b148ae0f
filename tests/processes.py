"""Look at processes that are not children of the test."""

from pathlib import Path


def is_alive(pid: int) -> bool:
    """Whether there is such a process and it has not ended (Linux)."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    fields = status.rpartition(")")[2].split()
    # A container without an init process keeps zombies. One that has given its memory back, but is
    # not reported yet, does nothing more either.
    return fields[0] not in ("Z", "X") and fields[20] != "0"


def memory_holds(pid: int, text: bytes) -> bool:
    """Whether a text is in what a process can write to (Linux)."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            addresses, rights, *_ = line.split()
            if not rights.startswith("rw") or "[v" in line:
                continue
            start, end = (int(address, 16) for address in addresses.split("-"))
            memory.seek(start)
            try:
                if text in memory.read(end - start):
                    return True
            except OSError:
                # Reserved, and never touched.
                continue
    return False
