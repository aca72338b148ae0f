"""Huge pages are made of memory that is in use, and of none that is not."""

import ctypes
import mmap
import sys

import pytest

from mlflow.server.jobs.local.huge_pages import collapse_step_by_step

HUGE_BYTES = 2 * 1024 * 1024
BYTES = 2 * HUGE_BYTES


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels have no such call")
def test_what_was_never_used_takes_no_memory_afterwards():
    memory = mmap.mmap(-1, BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for place in range(0, BYTES, HUGE_BYTES // 8):
        memory[place] = 1
    used = pages_of(memory)

    for _ in collapse_step_by_step():
        pass

    assert pages_of(memory) == used == 16


def pages_of(memory):
    libc = ctypes.CDLL(None)
    libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    pages = ctypes.create_string_buffer(BYTES // mmap.PAGESIZE)
    assert libc.mincore(address, BYTES, pages) == 0
    return sum(page & 1 for page in pages.raw)
