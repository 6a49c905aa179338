"""How the CPU backend's functions are compiled, and where the machine code is kept.

    @kernel     what an op calls from Python: compiled on its first use, its `prange` loops split among threads
    @helper     what kernels call: compiled into them, never called from Python
    @inlined    the same, for a few lines
    @summing    the same, for sums, whose order does not matter

Numba's own cache watches only the file of the function that was compiled.  A kernel also contains helpers from other
files, so an edit there would go unnoticed and stale code would run.  Here the cache is a folder whose name is
a hash of *all* source files that may go into a kernel: any edit leads to a new folder.
"""

import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba import njit, prange

from minibert.ops.blas import find_blas

# The kernels enable two of the compiler's fast-math flags.  Neither changes how infinity and NaN
# behave.  "contract": a * b + c in one instruction, with one rounding instead of two.  "reassoc", for
# functions that add up a row (`summing`): partial sums in the lanes of a vector.
CONTRACT, REASSOCIATE = {"contract"}, {"contract", "reassoc"}
OPTIONS: dict[str, Any] = dict(nogil=True, error_model="numpy")  # "numpy": x / 0 does not raise, so loops vectorise
WITHIN: dict[str, Any] = dict(no_cpython_wrapper=True, no_cfunc_wrapper=True)  # for functions that Python never calls
INLINED: Any = dict(fastmath=CONTRACT, forceinline=True)  # for `overload`: loops with calls do not vectorise
# of Numba's parallel transformations only prange is needed; looking for the others takes longer than compiling
PRANGE = dict(prange=True, comprehension=False, reduction=False, inplace_binop=False, setitem=False, numpy=False)
PRANGE |= dict(stencil=False, fusion=False)
ROWS = 64  # rows that a thread processes at a time, where sums over rows must not depend on the number of threads
KEPT = 4  # earlier versions kept in the cache, for switching back and forth between two
SECONDS = 20  # upper bound for compiling the kernels of a training step on two cores


def source_hash() -> str:
    """A hash of every source file that goes into these kernels, and of how the BLAS is called."""
    ops = Path(__file__).parent.parent
    digest = hashlib.sha256(str(find_blas().bits).encode())
    files = [path for folder in (".", "cpu", "reference") for path in (ops / folder).glob("*.py")]
    for path in sorted([*files, ops.parent / "base" / "philox.py"]):
        digest.update(str(path.relative_to(ops.parent)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def cache_root() -> Path:
    """Where compiled kernels are kept: MINIBERT_CACHE, or the user's cache folder."""
    if "MINIBERT_CACHE" in os.environ:
        return Path(os.environ["MINIBERT_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minibert"


def open_cache() -> Path | None:
    """The folder for this version's machine code, created if needed; None, with a warning, if it is not writable.

    Removes the folders of the least recently used versions.
    """
    try:
        root = cache_root() / "kernels"
        folder = root / source_hash()
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        os.utime(folder)
        for old in sorted(root.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)[KEPT + 1 :]:
            shutil.rmtree(old, ignore_errors=True)
        return folder
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        warnings.warn(
            f"the compiled kernels cannot be cached ({error}), so every run compiles them again; "
            "set MINIBERT_CACHE to a writable folder",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


__all__ = ["chunks_of", "helper", "inlined", "kernel", "piece", "prange", "rows_of", "summing", "threads"]
CACHE = open_cache()


def helper(function: Callable) -> Callable:
    """A function that kernels call; it is compiled into them."""
    return njit(fastmath=CONTRACT, **WITHIN, **OPTIONS)(function)


def inlined(function: Callable) -> Callable:
    """A small helper that is copied into its callers: a loop that calls a function does not vectorise."""
    return njit(inline="always", **OPTIONS)(function)


def summing(function: Callable) -> Callable:
    """A helper that adds numbers in the fastest order, which is always the same on the same processor."""
    return njit(fastmath=REASSOCIATE, **WITHIN, **OPTIONS)(function)


def kernel(function: Callable) -> Callable:
    """A function that an op calls.  Its arguments are C-contiguous arrays and numbers."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(CACHE or "")  # read by Numba here, and nowhere else
    try:
        return njit(parallel=PRANGE, fastmath=CONTRACT, no_cfunc_wrapper=True, cache=CACHE is not None, **OPTIONS)(
            function
        )
    finally:
        numba.config.CACHE_DIR = before


def threads() -> int:
    """How many threads a kernel's loops are split among."""
    return numba.get_num_threads()


@inlined
def piece(length, part, parts):
    """Where piece number `part` begins and ends when `length` items are split into `parts` pieces."""
    return length * part // parts, length * (part + 1) // parts


@inlined
def chunks_of(x):
    """How many chunks of ROWS rows a matrix has."""
    return (len(x) + ROWS - 1) // ROWS


@inlined
def rows_of(chunk, x):
    """The rows of a chunk."""
    return range(chunk * ROWS, min((chunk + 1) * ROWS, len(x)))
