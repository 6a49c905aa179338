"""The C interface of the BLAS that NumPy already brings, as functions that Numba's kernels can call.

Nine tenths of BERT's arithmetic are matrix products, and a good BLAS runs them near the processor's limit.  NumPy calls
it for whole matrices only, with threads of the BLAS's own.  The kernels here call it for *parts* of a matrix, each from
one of Numba's threads: so there is one pool of threads and not two that fight over the cores, and what comes out of a
product is used while it is still in the cache.  `multiply` and its two siblings are all that they need.
"""

import ctypes
import ctypes.util
import os
import sys
from pathlib import Path

import llvmlite.binding
import numpy as np
from numba import types
from numba.core import typing
from numba.extending import overload

from minibert.ops.cpu.compiler import helper, inlined

# What the functions of a library are called: `{}` stands for the name, "cblas_sgemm".  A BLAS whose whole numbers have
# 64 bits marks its names with 64; one of 32 bits does not.
NAMES = (("scipy_{}64_", 64), ("{}64_", 64), ("{}_64", 64), ("scipy_{}", 32), ("{}", 32))

ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112  # of the C interface


class Blas:
    """One BLAS library.

    path        where it lies
    pattern     how its names are made, see NAMES
    bits        of its whole numbers, 64 or 32
    """

    get_threads, set_threads = "openblas_get_num_threads", "openblas_set_num_threads"

    def __init__(self, path: str):
        self.path = path
        self.library = ctypes.CDLL(path)
        for self.pattern, self.bits in NAMES:
            if hasattr(self.library, self.pattern.format("cblas_sgemm")):
                return
        raise OSError(f"{path} has no C interface to BLAS")

    def address(self, name: str) -> int:
        """Where a function of the C interface, "cblas_sgemm", lies in memory."""
        return ctypes.cast(getattr(self.library, self.pattern.format(name)), ctypes.c_void_p).value

    def threads(self, wanted: int | None = None) -> int | None:
        """How many threads its products use when NumPy calls them, after setting that; None where it does not tell."""
        if not hasattr(self.library, self.pattern.format(self.get_threads)):
            return None
        if wanted is not None:
            getattr(self.library, self.pattern.format(self.set_threads))(wanted)
        return getattr(self.library, self.pattern.format(self.get_threads))()


def candidates():
    """Paths of libraries that may be a BLAS: NumPy's own first, then the system's."""
    if "MINIBERT_BLAS" in os.environ:
        yield os.environ["MINIBERT_BLAS"]
        return
    package = Path(np.__file__).parent
    for folder in (package.with_name("numpy.libs"), package / ".dylibs"):  # of the wheels for Linux, for macOS
        yield from map(str, sorted(folder.glob("*openblas*")))
    if sys.platform == "darwin":
        yield "/System/Library/Frameworks/Accelerate.framework/Accelerate"
    for name in ("cblas", "openblas", "mkl_rt", "blas"):
        if found := ctypes.util.find_library(name):
            yield found


def find_blas() -> Blas:
    """The first candidate that has what is needed.  Raises OSError where there is none."""
    reasons = []
    for path in candidates():
        try:
            return Blas(path)
        except OSError as error:
            reasons.append(str(error))
    raise OSError(
        "no BLAS with a C interface was found; install NumPy from a wheel, or name a library in MINIBERT_BLAS"
        + "".join(f" ({reason})" for reason in reasons)
    )


BLAS = find_blas()
INTEGER = types.int64 if BLAS.bits == 64 else types.int32


def external(name: str, result, *arguments):
    """A C function that kernels can call; compiled code finds it by name, so that it can be kept on disk."""
    llvmlite.binding.add_symbol(f"minibert_{name}", BLAS.address(name))
    return types.ExternalFunction(f"minibert_{name}", typing.signature(result, *arguments))


def external_gemm(name: str, number):
    """c = alpha * a @ b + beta * c for numbers of one type; matrices are given by address and row stride."""
    order_and_transpositions, sizes = [types.int32] * 3, [INTEGER] * 3
    matrices = [number, types.intp, INTEGER, types.intp, INTEGER, number, types.intp, INTEGER]
    return external(name, types.void, *order_and_transpositions, *sizes, *matrices)


sgemm = external_gemm("cblas_sgemm", types.float32)
dgemm = external_gemm("cblas_dgemm", types.float64)


def gemm(a_form, b_form, m, n, k, alpha, a, b, beta, c):
    """One product of blocks, in kernels: the type of alpha and beta, float32 or float64, is that of the matrices."""
    raise NotImplementedError("only in compiled kernels")


@overload(gemm)
def _gemm(a_form, b_form, m, n, k, alpha, a, b, beta, c):
    product = sgemm if alpha == types.float32 else dgemm

    def call(a_form, b_form, m, n, k, alpha, a, b, beta, c):
        product(ROW_MAJOR, a_form, b_form, m, n, k, alpha, a[0], a[1], b[0], b[1], beta, c[0], c[1])

    return call


if BLAS.threads() is None:

    @helper
    def one_blas_thread():
        """Nothing to do: this BLAS has no threads of its own, or none that it lets others count."""
        return 0

    @helper
    def as_many_blas_threads_as(before):
        """The way back."""

else:
    get_threads = external(BLAS.get_threads, types.int32)
    set_threads = external(BLAS.set_threads, types.void, types.int32)

    @helper
    def one_blas_thread():
        """Let the BLAS work in the thread that calls it, since Numba's threads share the work; returns what was."""
        before = get_threads()
        set_threads(1)
        return before

    @helper
    def as_many_blas_threads_as(before):
        """The way back, for who calls NumPy next."""
        set_threads(before)


@inlined
def block(matrix, i, j):
    """A block of a matrix for the products below: the address of its first number, [i, j], and the length of a row."""
    return matrix.ctypes.data + i * matrix.strides[0] + j * matrix.itemsize, max(matrix.shape[1], 1)


@helper
def multiply(m, n, k, alpha, a, b, beta, c):
    """c [m, n] = alpha * a [m, k] @ b [k, n] + beta * c."""
    if m > 0 and n > 0:
        gemm(PLAIN, PLAIN, m, n, k, alpha, a, b, beta, c)


@helper
def multiply_by_transposed(m, n, k, alpha, a, b, beta, c):
    """c [m, n] = alpha * a [m, k] @ b.T + beta * c, with b [n, k]."""
    if m > 0 and n > 0:
        gemm(PLAIN, TRANSPOSED, m, n, k, alpha, a, b, beta, c)


@helper
def multiply_transposed(m, n, k, alpha, a, b, beta, c):
    """c [m, n] = alpha * a.T @ b + beta * c, with a [k, m] and b [k, n]."""
    if m > 0 and n > 0:
        gemm(TRANSPOSED, PLAIN, m, n, k, alpha, a, b, beta, c)
