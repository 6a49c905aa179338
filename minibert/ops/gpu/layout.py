"""The memory layout that kernels need: arrays that are contiguous and aligned to sixteen bytes."""

from functools import cache
from typing import Any

import numpy as np

from minibert.base.arrays import Array
from minibert.ops.gpu.kernels import TYPES, blocks_for
from minibert.ops.gpu.library import cp

VECTOR = 16  # bytes: the most efficient size of an access by one thread, Vec in common.cuh
THREADS = 256  # per block, in kernels that walk over an array
MOST_BLOCKS = 4096  # more than a GPU runs at a time; beyond that, threads do more work instead


def contiguous(*arrays: Array) -> list[Array]:
    """The arrays as kernels need them: those that are not contiguous or not aligned to a vector are copied.

    Raises TypeError for arrays of mixed dtypes, or of one that no kernel supports.
    """
    dtype = arrays[0].dtype
    if not is_real(dtype) or any(array.dtype != dtype for array in arrays):
        names = sorted({array.dtype.name for array in arrays})
        raise TypeError(f"expected arrays of one dtype, one of {', '.join(TYPES)}; got {', '.join(names)}")
    return [array if array.flags.c_contiguous and starts_at_vector(array) else array.copy() for array in arrays]


@cache
def is_real(dtype: Any) -> bool:
    """Whether kernels take tensors of that dtype.  (Cached, since NumPy builds a dtype's name anew each time.)"""
    return dtype.name in TYPES


def starts_at_vector(array: Array, size: int = VECTOR) -> bool:
    """Whether an array's address is a multiple of `size` bytes."""
    return array.data.ptr % size == 0


def indices(array: Array) -> Array:
    """An array of integers as kernels need it: int32, contiguous."""
    return cp.ascontiguousarray(array if array.dtype == np.int32 else array.astype(np.int32))


def given(array: Array | None, shape: tuple[int, ...], dtype: Any) -> Array:
    """Check a buffer to which a gradient is added in place, and return it; zeros if it is None.

    Raises ValueError or TypeError for a buffer of another shape or dtype, or one that is not contiguous.
    """
    if array is None:
        return cp.zeros(shape, dtype)
    if array.shape != tuple(shape) or not array.flags.c_contiguous:
        raise ValueError(
            f"a gradient of shape {tuple(shape)} needs a contiguous buffer of the same shape, got {array.shape}"
        )
    if array.dtype != dtype:
        raise TypeError(f"the gradient buffer must be {np.dtype(dtype).name}, got {array.dtype.name}")
    return array


def vector_size(dtype: Any) -> int:
    """How many elements fit in sixteen bytes: Vec<T>::size."""
    return VECTOR // np.dtype(dtype).itemsize


def aligned(width: int, dtype: Any, *arrays: Array) -> bool:
    """Whether all rows of that width are aligned to a vector, given that the arrays are: ALIGNED in packs.cuh."""
    return width % vector_size(dtype) == 0 and all(starts_at_vector(array) for array in arrays)


def pack_size(width: int, dtype: Any) -> int:
    """How many neighbouring elements a thread processes at once, in a matrix of that width."""
    return vector_size(dtype) if aligned(width, dtype) else 1


def both(kernel: str) -> tuple[str, str]:
    """The names of a kernel's two instances: for aligned rows, and for any rows."""
    return variant(kernel, True), variant(kernel, False)


def variant(kernel: str, is_aligned: bool, types: str = "{T}") -> str:
    """The name of the instance of a kernel for aligned rows, or the other one."""
    return f"{kernel}<{types}, {'true' if is_aligned else 'false'}>"


def grid_stride_blocks(size: int, dtype: Any) -> int:
    """How many blocks of THREADS threads to use for a grid-stride loop over an array of that size."""
    return min(blocks_for(size, THREADS * vector_size(dtype)), MOST_BLOCKS)
