"""The number of usable CPU cores."""

import os


def usable_cores() -> int:
    """The number of CPU cores that this process may use, which may be fewer than the machine has (as in containers)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
