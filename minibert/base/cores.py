"""The number of usable CPU cores."""

import os


def usable_cores() -> int:
    """How many cores this process may run on; a container or a batch system often grants only some of the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
