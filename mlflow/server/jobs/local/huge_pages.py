"""Move this process's own memory into huge pages, so that forking it costs less.

A fork copies an entry for each page, and the end of the child drops it again. Where the kernel
cannot do this, nothing happens. A huge page takes memory for what was never used of it, too; so one
is only made of what is in use nearly throughout.
"""

import ctypes
import mmap
from collections.abc import Iterator

_HUGE_BYTES = 2 * 1024 * 1024
_MADV_COLLAPSE = 25
_PAGES = _HUGE_BYTES // mmap.PAGESIZE
_LEAST_USED_PAGES = _PAGES * 31 // 32


def collapse_step_by_step() -> Iterator[None]:
    """Move a little at each step, which takes some milliseconds."""
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
    used = ctypes.create_string_buffer(_PAGES)
    for start, end in _own_memory():
        first = -(-start // _HUGE_BYTES) * _HUGE_BYTES
        for address in range(first, end - _HUGE_BYTES + 1, _HUGE_BYTES):
            if libc.mincore(address, _HUGE_BYTES, used) != 0:
                continue
            if sum(page & 1 for page in used.raw) >= _LEAST_USED_PAGES:
                # What is refused stays as it is.
                libc.madvise(address, _HUGE_BYTES, _MADV_COLLAPSE)
                yield


def _own_memory() -> list[tuple[int, int]]:
    found = []
    with open("/proc/self/maps") as maps:
        for line in maps:
            addresses, rights, _, _, inode, *name = line.split()
            is_heap = not name or name[0] == "[heap]" or name[0].startswith("[anon")
            if rights.startswith("rw") and inode == "0" and is_heap:
                start, end = addresses.split("-")
                found.append((int(start, 16), int(end, 16)))
    return found
