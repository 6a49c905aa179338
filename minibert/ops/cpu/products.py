"""Matrix products in kernels, computed by NumPy's BLAS through its C interface.

Nine tenths of BERT's arithmetic is matrix products, and a good BLAS runs them near the processor's peak speed.  NumPy
calls the BLAS only for whole matrices, which the BLAS splits among its own threads.  Kernels call it for *blocks* of a
matrix, each from one of Numba's threads.  So no two thread pools compete for the cores, and attention multiplies the
small matrices of one head in one thread, while they are in the cache of that thread's core.
"""

from collections.abc import Callable
from typing import Any

import llvmlite.binding
from numba import types
from numba.core import typing
from numba.extending import overload

from minibert.ops.blas import GET_THREADS, SET_THREADS, find_blas
from minibert.ops.cpu.compiler import helper, inlined

ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112  # constants of the C interface
BLAS = find_blas()
INTEGER = types.int64 if BLAS.bits == 64 else types.int32


def external(name: str, result: Any, *arguments: Any) -> Callable:
    """Declare a function of the BLAS, so that kernels can call it.

    Compiled code refers to the function by name rather than by address, so the code can be cached on disk.
    """
    llvmlite.binding.add_symbol(f"minibert_{name}", BLAS.address(name))
    return types.ExternalFunction(f"minibert_{name}", typing.signature(result, *arguments))


def external_gemm(name: str, number: Any) -> Callable:
    """Declare a BLAS function that computes c = alpha * a @ b + beta * c for one floating-point type.

    The function takes each matrix as an address and a row stride in elements.
    """
    order_and_transpositions, sizes = [types.int32] * 3, [INTEGER] * 3
    matrices = [number, types.intp, INTEGER, types.intp, INTEGER, number, types.intp, INTEGER]
    return external(name, types.void, *order_and_transpositions, *sizes, *matrices)


sgemm = external_gemm("cblas_sgemm", types.float32)
dgemm = external_gemm("cblas_dgemm", types.float64)


def gemm(a_form: int, b_form: int, m: int, n: int, k: int, alpha: float, a: Any, b: Any, beta: float, c: Any) -> None:
    """Multiply blocks of matrices, in kernels; alpha and beta must have the matrices' type, float32 or float64."""
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
        """Do nothing and return 0, since this BLAS has no threads, or no functions to control their number."""
        return 0

    @helper
    def restore_blas_threads(before):
        """Do nothing, since `one_blas_thread` changes nothing."""

else:
    get_threads = external(GET_THREADS, types.int32)
    set_threads = external(SET_THREADS, types.void, types.int32)

    @helper
    def one_blas_thread():
        """Set the BLAS to one thread, since Numba's threads share the work, and return its previous thread count."""
        before = get_threads()
        set_threads(1)
        return before

    @helper
    def restore_blas_threads(before):
        """Restore the thread count that `one_blas_thread` returned."""
        set_threads(before)


@inlined
def block(matrix, i, j):
    """The block of a matrix that starts at element [i, j], as the products below take it: address and row stride."""
    return matrix.ctypes.data + i * matrix.strides[0] + j * matrix.itemsize, max(matrix.shape[1], 1)


@helper
def multiply(m, n, k, alpha, a, b, beta, c):
    """Compute c = alpha * a @ b + beta * c, with a [m, k], b [k, n] and c [m, n]."""
    if m > 0 and n > 0:
        gemm(PLAIN, PLAIN, m, n, k, alpha, a, b, beta, c)


@helper
def multiply_by_transposed(m, n, k, alpha, a, b, beta, c):
    """Compute c = alpha * a @ b.T + beta * c, with a [m, k], b [n, k] and c [m, n]."""
    if m > 0 and n > 0:
        gemm(PLAIN, TRANSPOSED, m, n, k, alpha, a, b, beta, c)


@helper
def multiply_transposed(m, n, k, alpha, a, b, beta, c):
    """Compute c = alpha * a.T @ b + beta * c, with a [k, m], b [k, n] and c [m, n]."""
    if m > 0 and n > 0:
        gemm(TRANSPOSED, PLAIN, m, n, k, alpha, a, b, beta, c)
