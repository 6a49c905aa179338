"""Emulates gemmEx, the one cuBLAS function that minibert calls: a matrix product of matrices given by address.

Source: cuBLAS library documentation, cublasGemmEx; cupy_backends/cuda/libs/cublas.pyx of CuPy 14.2.
"""

import ctypes
from typing import Any

import numpy as np

from minibert.emulator import memory

__all__ = ["gemmEx"]

SUMS = {68: np.float32, 70: np.float64, 77: np.float32}  # cublasComputeType_t -> the type in which sums are computed
TF32 = 77
COMBINATIONS = {  # cudaDataType_t of A and B -> the types allowed for C
    0: (0,),
    1: (1,),
    2: (2, 0),
    14: (14, 0),
}


class CUBLASError(RuntimeError):
    """An error that cuBLAS, or its emulation, reports for invalid arguments."""


def gemmEx(  # noqa: N802  (CuPy's name)
    handle: int,
    transa: int,
    transb: int,
    m: int,
    n: int,
    k: int,
    alpha: int,
    A: int,
    Atype: int,
    lda: int,
    B: int,
    Btype: int,
    ldb: int,
    beta: int,
    C: int,
    Ctype: int,
    ldc: int,
    computeType: int,
    algo: int,
) -> None:
    """Compute C [m, n] = alpha op(A) [m, k] op(B) [k, n] + beta C, where op(X) is X, or its transpose if requested.

    A, B and C are addresses of column-major matrices; alpha and beta are addresses of numbers on the host.
    Raises CUBLASError for an unsupported combination of types, a leading dimension that is too small, a matrix that
    does not lie within one allocation, or a C that overlaps A or B.
    """
    from minibert.emulator.cupy.arrays import write
    from minibert.emulator.cupy.products import round_to_tf32
    from minibert.emulator.cupy.storage import readable

    sums = SUMS.get(computeType)
    if (
        sums is None
        or Atype != Btype
        or Ctype not in COMBINATIONS.get(Atype, ())
        or (Atype == 1) != (sums == np.float64)
    ):
        raise CUBLASError(f"CUBLAS_STATUS_NOT_SUPPORTED: types {Atype}, {Btype} -> {Ctype}, compute type {computeType}")
    number = ctypes.c_double if sums == np.float64 else ctypes.c_float
    factors = [number.from_address(address).value for address in (alpha, beta)]
    a = matrix("A", A, Atype, *((k, m) if transa else (m, k)), lda)
    b = matrix("B", B, Btype, *((n, k) if transb else (k, n)), ldb)
    c = matrix("C", C, Ctype, m, n, ldc)
    if any(np.may_share_memory(c, operand) for operand in (a, b)):
        raise CUBLASError("C overlaps an operand")
    a, b = (readable(x.T if transposed else x) for x, transposed in ((a, transa), (b, transb)))
    with np.errstate(all="ignore"):
        if computeType == TF32:
            a, b = (round_to_tf32(np.ascontiguousarray(x)) for x in (a, b))
        result = sums(factors[0]) * np.matmul(a.astype(sums), b.astype(sums))
        if factors[1] != 0:
            result += sums(factors[1]) * readable(c).astype(sums)
        write(c, result)


def matrix(name: str, address: int, data_type: int, rows: int, columns: int, leading: int) -> np.ndarray:
    """Return a view of the column-major matrix [rows, columns] at an address, with leading dimension `leading`."""
    dtype = dtype_of(data_type)
    if leading < max(rows, 1):
        raise CUBLASError(f"CUBLAS_STATUS_INVALID_VALUE: {name} has {rows} rows and a leading dimension of {leading}")
    size = (leading * (columns - 1) + rows) * dtype.itemsize
    allocation = memory.registry.find(address)
    if allocation is None or address + size > allocation.end:
        raise CUBLASError(f"{name} [{rows}, {columns}] does not lie within one allocation of the device")
    buffer: Any = (ctypes.c_char * size).from_address(address)
    return np.ndarray((rows, columns), dtype, buffer, 0, (dtype.itemsize, leading * dtype.itemsize))


def dtype_of(data_type: int) -> np.dtype:
    """Return the NumPy dtype for a cudaDataType_t."""
    if data_type == 14:
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype({0: np.float32, 1: np.float64, 2: np.float16}[data_type])
