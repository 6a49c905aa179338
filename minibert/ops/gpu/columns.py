"""Add up the rows of a matrix, column by column, in a fixed order and in two stages; the kernels are in columns.cu."""

import numpy as np

from minibert.base.arrays import Array
from minibert.ops.gpu.kernels import CudaFile, blocks_for, sum_type
from minibert.ops.gpu.layout import aligned, both, contiguous, given, pack_size, variant
from minibert.ops.gpu.library import cp

COLUMNS = CudaFile("columns.cu", *both("column_sums"), headers=("packs.cuh", "columns.cuh"))
GROUP = (32, 8)  # threads per block: (WARP, SLICES) of columns.cuh
SLAB = 64  # rows per slab, or more if there would be more than MOST_SLABS slabs
MOST_SLABS = 512


def column_sums(x: Array, out: Array | None = None) -> Array:
    """The sum of the rows of x [N, H], which is [H]; float32 for 16-bit tensors, and added to `out` if given."""
    (x,) = contiguous(x)
    rows, width = x.shape
    slabs, slab = slabs_of(rows)
    if slabs > 1:
        partial = cp.empty((slabs, width), sum_type(x.dtype))  # [slabs, H]
        launch(x, partial, slabs, slab, add=False)
        return column_sums(partial, out)
    # with no rows, the sums are zero
    add = out is not None
    out = cp.empty(width, sum_type(x.dtype)) if out is None else given(out, (width,), sum_type(x.dtype))
    launch(x, out, 1, slab, add)
    return out


def launch(x: Array, out: Array, slabs: int, slab: int, add: bool) -> None:
    rows, width = x.shape
    sizes = np.int64(rows), np.int32(width), np.int32(slab), np.int32(add)
    name = variant("column_sums", aligned(width, x.dtype))
    COLUMNS.launch(name, x.dtype, (column_groups(width, x.dtype), slabs), GROUP, x, out, *sizes)


def column_groups(width: int, dtype: np.dtype) -> int:
    """The number of blocks that cover the columns of a matrix of the given width."""
    return blocks_for(width, GROUP[0] * pack_size(width, dtype))


def slabs_of(rows: int) -> tuple[int, int]:
    """The number of slabs that the rows are split into, and the rows per slab, which depend only on the row count."""
    slab = max(SLAB, blocks_for(rows, MOST_SLABS))
    return blocks_for(rows, slab), slab
