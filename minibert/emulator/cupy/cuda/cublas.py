"""Matrix products as cuBLAS computes them, from addresses: its one function that minibert calls.

Source: cuBLAS library documentation, cublasGemmEx; cupy_backends/cuda/libs/cublas.pyx of CuPy 14.2.
"""

import ctypes
from typing import Any

import numpy as np

from minibert.emulator import memory

__all__ = ["gemmEx"]

SUMS = {68: np.float32, 70: np.float64, 77: np.float32}  # cublasComputeType_t -> the type of the sums
TF32 = 77
COMBINATIONS = {  # cudaDataType_t of A and B -> of C
    0: (0,),
    1: (1,),
    2: (2, 0),
    14: (14, 0),
}


class CUBLASError(RuntimeError):
    """An error from cuBLAS."""


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
    """C [m, n] = alpha op(A) op(B) + beta C, matrices column-major; alpha and beta are addresses on the host.

    Raises CUBLASError for what the library rejects, and for a matrix that is not within one allocation.
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
    """The numbers at an address as a column-major matrix [rows, columns] with leading dimension `leading`."""
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
    """The dtype of a cudaDataType_t."""
    if data_type == 14:
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype({0: np.float32, 1: np.float64, 2: np.float16}[data_type])
