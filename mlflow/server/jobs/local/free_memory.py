"""Give memory that a process has freed back to the kernel, where the C library can do that."""

import ctypes


def give_back() -> None:
    """What imports needed only while they ran, for example."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
