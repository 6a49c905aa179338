"""Check and convert arrays to the memory layout that kernels require, and choose kernel instances and grid sizes.

Kernels require arrays that are contiguous and start at a multiple of sixteen bytes.
"""

from functools import cache
from typing import Any

import numpy as np

from minibert.base.arrays import Array
from minibert.ops.gpu.kernels import TYPES, blocks_for
from minibert.ops.gpu.library import cp

VECTOR = 16  # bytes: the most efficient size of a memory access by one thread; Vec in common.cuh
THREADS = 256  # threads per block, in kernels that loop over an array
MOST_BLOCKS = 4096  # more blocks than a GPU runs at a time; for larger arrays, each thread processes more elements


def contiguous(*arrays: Array) -> list[Array]:
    """The arrays in the layout that kernels require; those that are not contiguous and aligned to VECTOR are copied.

    Raises TypeError for arrays of mixed dtypes, or of a dtype that kernels do not support.
    """
    dtype = arrays[0].dtype
    if not is_real(dtype) or any(array.dtype != dtype for array in arrays):
        names = sorted({array.dtype.name for array in arrays})
        raise TypeError(f"expected arrays of one dtype, one of {', '.join(TYPES)}; got {', '.join(names)}")
    return [array if array.flags.c_contiguous and starts_at_vector(array) else array.copy() for array in arrays]


@cache
def is_real(dtype: Any) -> bool:
    """Whether kernels support tensors of the given dtype; cached, since NumPy rebuilds a dtype's name each time."""
    return dtype.name in TYPES


def starts_at_vector(array: Array, size: int = VECTOR) -> bool:
    """Whether an array's address is a multiple of `size` bytes."""
    return array.data.ptr % size == 0


def indices(array: Array) -> Array:
    """An integer array in the form that kernels require, int32 and contiguous; copied only if necessary."""
    return cp.ascontiguousarray(array if array.dtype == np.int32 else array.astype(np.int32))


def given(array: Array | None, shape: tuple[int, ...], dtype: Any) -> Array:
    """Check and return the buffer to which a gradient will be added in place, or return zeros if the buffer is None.

    Raises ValueError if the buffer has another shape or is not contiguous, and TypeError if it has another dtype.
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
    """The number of elements that fit in sixteen bytes; the same as Vec<T>::size in common.cuh."""
    return VECTOR // np.dtype(dtype).itemsize


def aligned(width: int, dtype: Any, *arrays: Array) -> bool:
    """Whether every row of a matrix of the given width starts at a multiple of VECTOR; ALIGNED in packs.cuh.

    This assumes that the matrix itself does; the given arrays are checked for that as well.
    """
    return width % vector_size(dtype) == 0 and all(starts_at_vector(array) for array in arrays)


def pack_size(width: int, dtype: Any) -> int:
    """The number of adjacent elements that a thread processes at once in a matrix of the given width."""
    return vector_size(dtype) if aligned(width, dtype) else 1


def both(kernel: str) -> tuple[str, str]:
    """The names of a kernel's two template instances, one for aligned rows and one for any rows."""
    return variant(kernel, True), variant(kernel, False)


def variant(kernel: str, is_aligned: bool, types: str = "{T}") -> str:
    """The name of a kernel's template instance for aligned rows (True) or for any rows (False)."""
    return f"{kernel}<{types}, {'true' if is_aligned else 'false'}>"


def grid_stride_blocks(size: int, dtype: Any) -> int:
    """The number of blocks of THREADS threads to use for a grid-stride loop over `size` elements."""
    return min(blocks_for(size, THREADS * vector_size(dtype)), MOST_BLOCKS)
