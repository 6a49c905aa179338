"""How arrays lie in memory, as kernels need to know it: contiguous, and starting at a multiple of sixteen bytes."""

from functools import cache
from typing import Any

import numpy as np

from minibert.base.arrays import Array
from minibert.ops.gpu.kernels import TYPES, blocks_for
from minibert.ops.gpu.library import cp

VECTOR = 16  # bytes that a thread reads or writes best at once: Vec in common.cuh
THREADS = 256  # of a block, where a kernel walks over an array
MOST_BLOCKS = 4096  # more than a GPU runs at a time; so each thread has more to do, not the grid more blocks


def contiguous(*arrays: Array) -> list[Array]:
    """The arrays as kernels read them; a copy of those that are not contiguous or start between two vectors.

    Raises TypeError for arrays of several dtypes, or of one that no kernel takes.
    """
    dtype = arrays[0].dtype
    if not is_real(dtype) or any(array.dtype != dtype for array in arrays):
        names = sorted({array.dtype.name for array in arrays})
        raise TypeError(f"expected arrays of one dtype, one of {', '.join(TYPES)}; got {', '.join(names)}")
    return [array if array.flags.c_contiguous and starts_at_vector(array) else array.copy() for array in arrays]


@cache
def is_real(dtype: Any) -> bool:
    """Whether kernels take tensors of that dtype.  (Its name, which NumPy puts together anew each time, is slow.)"""
    return dtype.name in TYPES


def starts_at_vector(array: Array, size: int = VECTOR) -> bool:
    """Whether an array's address is a multiple of `size` bytes."""
    return array.data.ptr % size == 0


def indices(array: Array) -> Array:
    """An array of integers as kernels read it: int32, contiguous."""
    return cp.ascontiguousarray(array if array.dtype == np.int32 else array.astype(np.int32))


def given(array: Array | None, shape: tuple[int, ...], dtype: Any) -> Array:
    """A buffer that a gradient is added to in place, checked; or zeros, where it is None.

    Raises ValueError or TypeError for a buffer of another shape or dtype, or one that is not contiguous.
    """
    if array is None:
        return cp.zeros(shape, dtype)
    if array.shape != tuple(shape) or not array.flags.c_contiguous:
        raise ValueError(f"a gradient of shape {tuple(shape)} needs a contiguous buffer like it, got {array.shape}")
    if array.dtype != dtype:
        raise TypeError(f"gradients are added to a buffer of {np.dtype(dtype).name}, got {array.dtype.name}")
    return array


def vector_size(dtype: Any) -> int:
    """How many numbers make sixteen bytes: Vec<T>::size."""
    return VECTOR // np.dtype(dtype).itemsize


def aligned(width: int, dtype: Any, *arrays: Array) -> bool:
    """Whether all rows of that width start at a vector, given that the arrays do: ALIGNED in packs.cuh."""
    return width % vector_size(dtype) == 0 and all(starts_at_vector(array) for array in arrays)


def pack_size(width: int, dtype: Any) -> int:
    """How many neighbours a thread works on at once, in a matrix of that width."""
    return vector_size(dtype) if aligned(width, dtype) else 1


def both(kernel: str) -> tuple[str, str]:
    """The names of a kernel's two instances: for aligned rows, and for any."""
    return variant(kernel, True), variant(kernel, False)


def variant(kernel: str, is_aligned: bool, types: str = "{T}") -> str:
    """The name of the instance of a kernel for aligned rows, or the other one."""
    return f"{kernel}<{types}, {'true' if is_aligned else 'false'}>"


def grid_stride_blocks(size: int, dtype: Any) -> int:
    """How many blocks of THREADS walk over an array of that size."""
    return min(blocks_for(size, THREADS * vector_size(dtype)), MOST_BLOCKS)
