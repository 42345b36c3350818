"""Settings of the C library's allocator: memory that a data set has freed is used by the next one.

glibc returns memory to the system as soon as more than twice the largest freed block is free at the
heap's end, which several associations at once do with each data set: every object of 512 KiB then
costs a hundred page faults. No memory is counted or limited here.
"""

import ctypes
import os

_TRIM_THRESHOLD = "MALLOC_TRIM_THRESHOLD_", -1, 32 * 2**20
_MMAP_THRESHOLD = "MALLOC_MMAP_THRESHOLD_", -3, 4 * 2**20
"""Variable, parameter of mallopt (malloc.h) and bytes; a longer block is returned at once."""


def keep_freed_memory() -> bool:
    """Keep up to 32 MiB of freed memory in this process; return whether the library can do that.

    A setting that the environment has (see mallopt(3)) is left alone.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl and macOS have none
        return False
    chosen = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    for variable, parameter, length in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
        if not chosen and variable not in os.environ:
            mallopt(parameter, length)
    return True
