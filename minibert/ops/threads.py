"""How many threads the ops use: one number for Numba's threads and for those of NumPy's BLAS."""

import os

from minibert.ops.blas import find_blas


def usable_cores() -> int:
    """How many cores this process may run on; a container or a batch system often grants fewer than all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def use_threads(count: int | None) -> None:
    """Let the ops of all backends on this processor use `count` threads from now on; None leaves everything as it is.

    Raises ValueError for a count below 1, or above what Numba was started with.
    """
    if count is None:
        return
    import numba  # here, since the reference backend does without

    if not 1 <= count <= numba.config.NUMBA_NUM_THREADS:
        raise ValueError(
            f"--threads is {count}; expected 1 to {numba.config.NUMBA_NUM_THREADS}, the cores that this process may "
            "use (to have more threads than cores, set NUMBA_NUM_THREADS)"
        )
    numba.set_num_threads(count)
    try:
        find_blas().threads(count)
    except OSError:  # a BLAS that nobody can ask
        pass
