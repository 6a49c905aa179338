"""The emulator's cublasGemmEx: column-major products from addresses, and what the library refuses."""

import ctypes

import numpy as np
import pytest

from minibert.emulator import cupy as cp
from minibert.emulator.cupy.cuda.cublas import CUBLASError
from minibert.emulator.errors import UninitialisedError

F32, F64, F16, BF16 = 0, 1, 2, 14
COMPUTE_32F, COMPUTE_64F, TF32 = 68, 70, 77


def gemm(a, b, c, *, m, n, k, lda, ldb, ldc, types=(F32, F32), ops=(0, 0), alpha=1.0, beta=0.0, compute=COMPUTE_32F):
    number = ctypes.c_double if compute == COMPUTE_64F else ctypes.c_float
    scalars = number(alpha), number(beta)
    one, other = (ctypes.addressof(scalar) for scalar in scalars)
    pointers = a.data.ptr, b.data.ptr, c.data.ptr
    cp.cuda.cublas.gemmEx(
        *(cp.cuda.device.get_cublas_handle(), *ops, m, n, k, one, pointers[0], types[0], lda),
        *(pointers[1], types[0], ldb, other, pointers[2], types[1], ldc, compute, -1),
    )


def random(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("op_a, op_b", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_it_counts_by_columns(op_a, op_b):
    """A matrix that lies by columns is the transpose of what lies by rows; leading dimensions may be larger."""
    m, n, k = 3, 4, 5
    a, b, c = random(*((m, k) if op_a else (k, m))), random(*((k, n) if op_b else (n, k)), seed=1), random(n, m, seed=2)
    wide = np.zeros((n, m + 2), np.float32)
    wide[:, :m] = c
    out = cp.asarray(wide)
    gemm(
        cp.asarray(a), cp.asarray(b), out, m=m, n=n, k=k, lda=a.shape[1], ldb=b.shape[1], ldc=m + 2,
        ops=(op_a, op_b), alpha=2.0, beta=-1.0,
    )  # fmt: skip
    product = (a if op_a else a.T) @ (b if op_b else b.T)
    assert np.allclose(out.get()[:, :m], (2 * product).T - c, atol=1e-5)
    assert not out.get()[:, m:].any()


def test_sixteen_bits_into_float32_are_not_rounded():
    a, b = random(8, 8, dtype=np.float16), random(8, 8, dtype=np.float16, seed=1)
    wide, narrow = cp.zeros((8, 8), np.float32), cp.zeros((8, 8), np.float16)
    for out, kind in ((wide, F32), (narrow, F16)):
        gemm(cp.asarray(a), cp.asarray(b), out, m=8, n=8, k=8, lda=8, ldb=8, ldc=8, types=(F16, kind))
    exact = b.astype(np.float64) @ a.astype(np.float64)
    assert np.abs(wide.get() - exact).max() < 1e-5
    assert np.array_equal(narrow.get(), wide.get().astype(np.float16))


def test_what_is_not_supported_is_refused():
    x = cp.asarray(random(4, 4))
    sizes = dict(m=4, n=4, k=4, lda=4, ldb=4, ldc=4)
    for wrong in (dict(types=(F32, F16)), dict(types=(BF16, F16)), dict(compute=COMPUTE_64F), dict(compute=64)):
        with pytest.raises(CUBLASError, match="NOT_SUPPORTED"):
            gemm(x, x, cp.zeros((4, 4), np.float32), **sizes, **wrong)
    with pytest.raises(CUBLASError, match="INVALID_VALUE"):
        gemm(x, x, cp.zeros((4, 4), np.float32), **(sizes | dict(lda=3)))
    with pytest.raises(CUBLASError, match="one allocation"):
        gemm(x, x, cp.zeros((4, 3), np.float32), **sizes)
    with pytest.raises(CUBLASError, match="overlaps"):
        gemm(x, x, x, **sizes)


def test_check_mode_sees_numbers_that_nobody_wrote():
    from minibert.emulator.modes import checking

    x, sizes = cp.asarray(random(4, 4)), dict(m=4, n=4, k=4, lda=4, ldb=4, ldc=4)
    with checking():
        gemm(x, x, cp.empty((4, 4), np.float32), **sizes)  # beta = 0: what C holds is not read
        with pytest.raises(UninitialisedError):
            gemm(x, x, cp.empty((4, 4), np.float32), **sizes, beta=1.0)
