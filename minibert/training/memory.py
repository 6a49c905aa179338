"""Keep freed memory in the process, because training steps ask for the same large arrays again and again."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # constants from glibc's malloc.h
LARGEST_MMAP_THRESHOLD = 32 << 20  # bytes; glibc accepts no larger threshold
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc not to return large buffers to the system whenever NumPy frees one; True if that worked.

    By default the memory of every activation is mapped afresh in every step, at the cost of page faults: GELU and layer
    norm take twice as long.  On systems other than Linux with glibc this function does nothing.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD) and mallopt(M_TRIM_THRESHOLD, NEVER))
