"""Select rows of a batch by index (gather_rows), and average the rows of each sequence (mean_pool)."""

import numpy as np

from minibert.base.arrays import Array, Cache
from minibert.ops.gpu.columns import GROUP, column_groups
from minibert.ops.gpu.kernels import CudaFile, blocks_for
from minibert.ops.gpu.layout import THREADS, aligned, both, contiguous, given, indices, pack_size, variant
from minibert.ops.gpu.library import cp
from minibert.ops.gpu.scatter import scatter_add

ROWS = CudaFile(
    "rows.cu",
    *both("gather_rows"),
    *both("mean_pool_forward"),
    *both("mean_pool_backward"),
    headers=("packs.cuh", "columns.cuh"),
)


def gather_rows_forward(x: Array, rows: Array) -> tuple[Array, Cache]:
    """Select rows, y = x[rows]; see minibert.ops.reference.rows."""
    (x,), rows = contiguous(x), indices(rows)
    count, width = len(rows), x.shape[1]
    y = cp.empty((count, width), x.dtype)  # [M, H]
    blocks = blocks_for(count * width // pack_size(width, x.dtype), THREADS)
    name = variant("gather_rows", aligned(width, x.dtype))
    ROWS.launch(name, x.dtype, blocks, THREADS, x, rows, y, np.int64(count), np.int32(width))
    return y, (rows, x.shape)


def gather_rows_backward(d_y: Array, cache: Cache, accumulate_into: Array | None = None) -> Array:
    """The backward pass of gather_rows_forward: d_y [M, H] -> d_x [N, H], of the same dtype.

    See the reference for `accumulate_into`.
    """
    rows, shape = cache
    d_x = given(accumulate_into, shape, d_y.dtype)
    # y = x[rows]
    scatter_add(d_y, rows, d_x)
    return d_x


def mean_pool_forward(x: Array, cu_seqlens: Array) -> tuple[Array, Cache]:
    """The mean of each sequence's rows, y [B, H]; see minibert.ops.reference.rows.

    For an empty sequence, other backends raise ValueError, but here the mean is NaN: the lengths are on the device, and
    reading them would make the host wait until the device has finished all earlier work.
    """
    (x,), cu_seqlens = contiguous(x), indices(cu_seqlens)
    y = cp.empty((len(cu_seqlens) - 1, x.shape[1]), x.dtype)  # [B, H]
    pool("mean_pool_forward", x, cu_seqlens, y)
    return y, (cu_seqlens, x.shape)


def mean_pool_backward(d_y: Array, cache: Cache) -> Array:
    """The backward pass of mean_pool_forward: d_y [B, H] -> d_x [N, H]."""
    cu_seqlens, shape = cache
    (d_y,) = contiguous(d_y)
    d_x = cp.empty(shape, d_y.dtype)  # [N, H]
    # y = sum of the sequence's rows / its length
    pool("mean_pool_backward", d_y, cu_seqlens, d_x)
    return d_x


def pool(kernel: str, source: Array, cu_seqlens: Array, out: Array) -> None:
    """Launch a mean pooling kernel, in which each block processes a group of columns of one sequence."""
    width, dtype = source.shape[1], source.dtype
    grid = len(cu_seqlens) - 1, column_groups(width, dtype)
    ROWS.launch(variant(kernel, aligned(width, dtype)), dtype, grid, GROUP, source, cu_seqlens, out, np.int32(width))
