"""The decorators that compile the CPU backend's functions with Numba, and the cache for the compiled code.

    @kernel     for functions that ops call from Python: compiled on first use, with `prange` loops split among threads
    @helper     for functions that only kernels call: compiled into the kernels
    @inlined    for helpers of a few lines, which are copied into their callers
    @summing    for helpers that compute sums, whose terms the compiler may add in any order

Numba's own cache checks only the file of the compiled function for changes.  A kernel also contains helpers from other
files, so edits to those would go unnoticed and stale code would run.  Therefore each version of the code has a cache
folder of its own, named by a hash of *all* source files that may go into a kernel: any edit leads to a new folder.
A folder with a damaged file is deleted (see cached_files.py).
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

from minibert.base.private_folders import private_folder
from minibert.ops.blas import find_blas
from minibert.ops.cpu.cached_files import check_files_of, delete_if_damaged
from minibert.ops.cpu.threading_layer import load_openmp

# The kernels enable two of the compiler's fast-math flags, neither of which changes how infinity and NaN behave.
# "contract" allows a * b + c in one instruction, with one rounding instead of two.  "reassoc", for functions that add
# up a row (`summing`), allows partial sums in the lanes of a vector.
CONTRACT, REASSOCIATE = {"contract"}, {"contract", "reassoc"}
OPTIONS: dict[str, Any] = dict(nogil=True, error_model="numpy")  # "numpy": x / 0 does not raise, so loops vectorise
WITHIN: dict[str, Any] = dict(no_cpython_wrapper=True, no_cfunc_wrapper=True)  # for functions that Python never calls
INLINED: Any = dict(fastmath=CONTRACT, forceinline=True)  # for `overload`: loops with calls do not vectorise
# of Numba's parallel transformations, only prange is needed; searching for the others takes longer than compiling
PRANGE = dict(prange=True, comprehension=False, reduction=False, inplace_binop=False, setitem=False, numpy=False)
PRANGE |= dict(stencil=False, fusion=False)
ROWS = 64  # rows per chunk, in kernels whose sums over rows must not depend on the number of threads
KEPT = 4  # earlier versions kept in the cache, so that switching between versions does not recompile
SECONDS = 20  # the most that compiling a training step's kernels takes on two cores


def source_hash() -> str:
    """A hash of every source file that may go into the kernels, of Numba's version and the BLAS's integer width."""
    ops = Path(__file__).parent.parent
    digest = hashlib.sha256(f"{find_blas().bits} {numba.__version__}".encode())
    files = [path for folder in (".", "cpu", "reference") for path in (ops / folder).glob("*.py")]
    for path in sorted([*files, ops.parent / "base" / "philox.py"]):
        digest.update(str(path.relative_to(ops.parent)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def cache_root() -> Path:
    """The folder for cached files: MINIBERT_CACHE if set and not empty, otherwise `minibert` in the user's cache."""
    if os.environ.get("MINIBERT_CACHE"):
        return Path(os.environ["MINIBERT_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minibert"


def open_cache() -> Path | None:
    """The cache folder for this version's machine code, created if needed; None, with a warning, if not writable.

    Also removes the folders of the least recently used versions, keeping the KEPT most recent ones besides this one.
    Raises ValueError if others may write to the folder; see minibert.base.private_folders.
    """
    try:
        folder = private_folder(cache_root(), "kernels", source_hash())
        root = folder.parent
        tempfile.TemporaryFile(dir=folder).close()
        delete_if_damaged(folder)
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
load_openmp()


def helper(function: Callable) -> Callable:
    """Decorator for a function that only kernels call; it is compiled into them."""
    return njit(fastmath=CONTRACT, **WITHIN, **OPTIONS)(function)


def inlined(function: Callable) -> Callable:
    """Decorator for a small helper that is copied into its callers, since a loop with calls does not vectorise."""
    return njit(inline="always", **OPTIONS)(function)


def summing(function: Callable) -> Callable:
    """Decorator for a helper whose sums the compiler may reorder; the order is always the same on a given processor."""
    return njit(fastmath=REASSOCIATE, **WITHIN, **OPTIONS)(function)


def kernel(function: Callable) -> Callable:
    """Decorator for a function that an op calls from Python, with C-contiguous arrays and numbers as arguments."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(CACHE or "")  # Numba reads it only during the njit call below
    options = dict(parallel=PRANGE, fastmath=CONTRACT, no_cfunc_wrapper=True, cache=CACHE is not None) | OPTIONS
    try:
        compiled = njit(**options)(function)
    finally:
        numba.config.CACHE_DIR = before
    if CACHE is not None:
        check_files_of(compiled)
    return compiled


def threads() -> int:
    """The number of threads among which a kernel's loops are split."""
    return numba.get_num_threads()


@inlined
def piece(length, part, parts):
    """The start and end of piece number `part` when `length` items are split into `parts` pieces."""
    return length * part // parts, length * (part + 1) // parts


@inlined
def chunks_of(x):
    """The number of chunks of ROWS rows in a matrix; the last chunk may be shorter."""
    return (len(x) + ROWS - 1) // ROWS


@inlined
def rows_of(chunk, x):
    """The range of row indices in a chunk of matrix x."""
    return range(chunk * ROWS, min((chunk + 1) * ROWS, len(x)))
