"""Matrix products, computed by cuBLAS; they are nine tenths of BERT's arithmetic.

All matrices are 2-D.  Products of 16-bit matrices use the tensor cores; sums are float32, or float64 for float64
matrices.  cublasGemmEx is called directly, not through cupy.matmul, because it can do what matmul cannot: add the
product to the contents of `out` (beta = 1), and write a float32 result for 16-bit matrices.  So accumulating a gradient
needs no extra pass over memory, and rounds once instead of twice.

Source: cuBLAS library documentation, cublasGemmEx.  cuBLAS expects column-major matrices, so it reads a row-major
matrix as its transpose; therefore out = a @ b is computed as out.T = b.T @ a.T.
"""

import ctypes
from functools import cache

import numpy as np

from minibert.base.arrays import Array
from minibert.ops.gpu.kernels import sum_type
from minibert.ops.gpu.library import cp

DATA_TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}  # cudaDataType_t
COMPUTE_32F, COMPUTE_64F, COMPUTE_32F_FAST_TF32 = 68, 70, 77  # cublasComputeType_t: the type of the accumulator
NORMAL, TRANSPOSED = 0, 1  # cublasOperation_t
BEST = -1  # CUBLAS_GEMM_DEFAULT: cuBLAS chooses the algorithm

ZERO, ONE = ((ctypes.c_float(number), ctypes.c_double(number)) for number in (0.0, 1.0))
ADDRESSES = {
    (size, number): ctypes.addressof(scalar)
    for number, scalars in ((0, ZERO), (1, ONE))
    for size, scalar in zip((4, 8), scalars, strict=True)
}
compute_type = {4: COMPUTE_32F, 8: COMPUTE_64F}  # by the size of a sum in bytes; `use_tf32` changes the first


def product(a: Array, b: Array, out: Array | None = None, add: bool = False) -> Array:
    """The matrix product of a [n, k] and b [k, m], written to `out` [n, m] and returned; it is zero if k = 0.

    a, b: of one dtype, each contiguous or the transpose of a contiguous matrix.  out: contiguous, of their dtype or of
    the accumulator type; None for a new array of that dtype.  add: add the product to the contents of `out`.
    Raises ValueError for other layouts or shapes.
    """
    (rows, depth), columns = a.shape, b.shape[1]
    if out is None:
        out, add = cp.empty((rows, columns), a.dtype), False
    if b.shape[0] != depth or out.shape != (rows, columns) or not out.flags.c_contiguous:
        raise ValueError(
            f"cannot multiply {a.shape} by {b.shape} into {out.shape}: expected a contiguous result of matching shape"
        )
    if 0 in (rows, columns):
        return out
    if depth == 0:
        if not add:
            out[...] = 0
        return out
    data_type, size = of_dtype(a.dtype)
    of_a, leading_a = layout(a)
    of_b, leading_b = layout(b)
    cp.cuda.cublas.gemmEx(
        cp.cuda.device.get_cublas_handle(),
        *(of_b, of_a, columns, rows, depth),
        *(ADDRESSES[size, 1], b.data.ptr, data_type, leading_b, a.data.ptr, data_type, leading_a),
        *(ADDRESSES[size, int(add)], out.data.ptr, of_dtype(out.dtype)[0], columns),
        *(compute_type[size], BEST),
    )
    return out


@cache
def of_dtype(dtype: np.dtype) -> tuple[int, int]:
    """The cuBLAS data-type code of a dtype, and the size in bytes of the accumulator in its matrix products."""
    return DATA_TYPES[dtype.name], np.dtype(sum_type(dtype)).itemsize


def layout(matrix: Array) -> tuple[int, int]:
    """The layout of an operand, as cuBLAS takes it: NORMAL or TRANSPOSED, and the leading dimension."""
    rows, columns = matrix.shape
    if matrix.flags.c_contiguous:
        return NORMAL, columns
    if matrix.flags.f_contiguous:
        return TRANSPOSED, rows
    raise ValueError(
        "a matrix product requires contiguous matrices or transposes of them; make a contiguous copy first"
    )


def use_tf32(wanted: bool) -> None:
    """Turn on or off tensor core products of float32 matrices (TF32).

    With TF32, the inputs are rounded to 11 significant bits; sums stay float32.
    """
    compute_type[4] = COMPUTE_32F_FAST_TF32 if wanted else COMPUTE_32F
    types = cp._core._routines_linalg
    cp._core.set_compute_type(np.float32, types.COMPUTE_TYPE_TF32 if wanted else types.COMPUTE_TYPE_DEFAULT)
