"""Emulates CuPy's products of two matrices or two vectors, with the precision of cuBLAS.

Source: cupy/_core/_routines_linalg.pyx of CuPy 14.2.
"""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from minibert.emulator.cupy.arrays import ndarray, write
from minibert.emulator.cupy.storage import readable

FLOATS = "float16", "bfloat16", "float32", "float64"
COMPUTE_TYPE_DEFAULT, COMPUTE_TYPE_TF32 = 1, 7
compute_types: dict[str, int] = {}


def set_compute_type(dtype: DTypeLike, compute_type: int) -> None:
    """Set how products of a dtype are computed: COMPUTE_TYPE_TF32 rounds float32 operands, as tensor cores do."""
    if compute_type not in (COMPUTE_TYPE_DEFAULT, COMPUTE_TYPE_TF32):
        raise ValueError(f"compute type is {compute_type}; the emulator supports only {COMPUTE_TYPE_DEFAULT} and TF32")
    compute_types[np.dtype(dtype).name] = compute_type


def get_compute_type(dtype: DTypeLike) -> int:
    return compute_types.get(np.dtype(dtype).name, COMPUTE_TYPE_DEFAULT)


def matmul(x1: Any, x2: Any, /, out: Any = None) -> ndarray:
    """Return the matrix product x1 [n, k] @ x2 [k, m] -> [n, m].

    Sums are computed in float32 (in float64 for float64 operands) and rounded once, to the operands' dtype.
    out: [n, m], contiguous and of the same dtype; it must not overlap x1 or x2, since CuPy would compute into a copy.
    Raises TypeError unless x1 and x2 are floats of one dtype, and ValueError for other shapes.
    """
    check_operands(x1, x2, 2)
    shape = x1.shape[0], x2.shape[1]
    result = ndarray(shape, x1.dtype) if out is None else out
    if not isinstance(result, ndarray) or result.dtype != x1.dtype:
        raise TypeError(f"out must be a device array of {x1.dtype}")
    if result.shape != shape or not result.flags.c_contiguous:
        raise ValueError(f"out must be contiguous and of shape {shape}, got {result.shape}")
    if any(np.may_share_memory(result._numbers, operand._numbers) for operand in (x1, x2)):
        raise ValueError("out overlaps an operand, so CuPy would compute into a copy")
    write(result._numbers, product(readable(x1._numbers), readable(x2._numbers)))
    return result


def dot(a: Any, b: Any) -> ndarray:
    """Return the dot product a [k] . b [k] -> 0-d; for two matrices, the same as matmul."""
    if isinstance(a, ndarray) and a.ndim == 2:
        return matmul(a, b)
    check_operands(a, b, 1)
    return (a * b).sum()


def check_operands(a: Any, b: Any, dimensions: int) -> None:
    if not (isinstance(a, ndarray) and isinstance(b, ndarray)):
        raise TypeError(f"expected two device arrays, got {type(a).__name__} and {type(b).__name__}")
    if a.ndim != dimensions or b.ndim != dimensions or a.shape[-1] != b.shape[0]:
        raise ValueError(
            f"shapes are {a.shape} and {b.shape}; expected matching shapes of {dimensions} dimensions "
            "(products of more dimensions are slow in CuPy, and fail in bfloat16)"
        )
    if a.dtype != b.dtype or a.dtype.name not in FLOATS:
        raise TypeError(f"expected floats of one dtype, got {a.dtype} and {b.dtype}")


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a @ b in the dtype in which the sums are computed."""
    with np.errstate(all="ignore"):
        if a.shape[0] == b.shape[1] == 1:
            # CuPy does not use cuBLAS for this case, and rounds each product before summing
            return (a.T * b).astype(sum_type(a)).sum(axis=0, keepdims=True)
        if a.dtype == np.float32 and get_compute_type(a.dtype) == COMPUTE_TYPE_TF32:
            a, b = round_to_tf32(a), round_to_tf32(b)
        return np.matmul(a.astype(sum_type(a), copy=False), b.astype(sum_type(b), copy=False))


def sum_type(numbers: np.ndarray) -> type:
    return np.float64 if numbers.dtype == np.float64 else np.float32


def round_to_tf32(numbers: np.ndarray) -> np.ndarray:
    """Round float32 numbers to the 11 significant bits of TF32, to nearest, with ties to even."""
    bits = numbers.view(np.uint32)
    rounded = (bits + np.uint32(0xFFF) + (bits >> np.uint32(13) & np.uint32(1))) & np.uint32(0xFFFFE000)
    return np.where(np.isfinite(numbers), rounded.view(np.float32), numbers)
