"""Keep freed memory in the process, because every training step allocates the same large arrays."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # constants from glibc's malloc.h
LARGEST_MMAP_THRESHOLD = 32 << 20  # bytes; glibc accepts no larger threshold
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc to keep the large buffers that NumPy frees, and return True if that worked.

    By default, glibc returns them to the system, and each step maps memory for its activations anew, which causes page
    faults: GELU and layer norm take twice as long. On systems other than Linux with glibc this function does nothing.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD) and mallopt(M_TRIM_THRESHOLD, NEVER))
