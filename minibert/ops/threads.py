"""Set the number of threads that ops use, in both Numba and NumPy's BLAS."""

from minibert.ops.blas import find_blas


def use_threads(count: int | None) -> None:
    """Make the ops of the CPU-based backends use `count` threads from now on; None changes nothing.

    Raises ValueError for a count below 1, or above the number of threads that Numba was started with.
    """
    if count is None:
        return
    import numba  # imported here, since the reference backend does not need it

    if not 1 <= count <= numba.config.NUMBA_NUM_THREADS:
        raise ValueError(
            f"--threads is {count}; expected 1 to {numba.config.NUMBA_NUM_THREADS}, the number of cores available "
            "(to use more threads than cores, set NUMBA_NUM_THREADS)"
        )
    numba.set_num_threads(count)
    try:
        find_blas().threads(count)
    except OSError:  # no BLAS with a C interface was found
        pass
