"""Deterministic scatter-add, which sorts the ids and then adds up runs of equal ids; the kernels are in scatter.cu."""

import numpy as np

from minibert.base.arrays import Array
from minibert.ops.gpu.kernels import CudaFile, blocks_for, sum_type
from minibert.ops.gpu.layout import THREADS, aligned, contiguous, indices, variant, vector_size
from minibert.ops.gpu.library import cp

SAME, SUMS = "{T}, {T}", "{T}, sum_t<{T}>"  # the table has the rows' dtype, or the dtype in which sums are computed

SCATTER = CudaFile(
    "scatter.cu",
    "make_keys",
    "split_keys",
    *(
        variant(name, rows, types)
        for name in ("add_chunks", "add_parts")
        for types in (SAME, SUMS)
        for rows in (False, True)
    ),
    headers=("packs.cuh",),
)
CHUNK = 64  # sorted positions that a block adds up
MOST_COLUMNS = 128  # threads per block


def scatter_add(rows: Array, ids: Array, table: Array, chunk: int = CHUNK) -> None:
    """Add rows[i] to table[ids[i]] for every i, in place.

    rows [N, H]; ids: integers [N]; table [R, H], with any number of rows R, of the dtype of `rows` or float32; chunk:
    the number of rows that a block adds up.
    """
    (rows,), ids = contiguous(rows), indices(ids)
    count, width = rows.shape
    if count == 0:
        return
    ids, positions = sorted_positions(ids, rows.dtype)
    is_aligned = aligned(width, rows.dtype, table)
    threads, columns = column_blocks(width, rows.dtype, is_aligned)
    chunks = blocks_for(count, chunk)
    parts = cp.empty((chunks, 2, width), sum_type(rows.dtype))  # [chunks, 2, H]
    sizes = np.int32(count), np.int32(width), np.int32(chunk)
    types = SAME if table.dtype == rows.dtype else SUMS
    name = variant("add_chunks", is_aligned, types)
    SCATTER.launch(name, rows.dtype, (chunks, columns), threads, rows, ids, positions, table, parts, *sizes)
    if chunks > 1:
        name = variant("add_parts", is_aligned, types)
        SCATTER.launch(name, rows.dtype, (chunks, columns), threads, ids, parts, table, *sizes)


def sorted_positions(ids: Array, dtype: np.dtype) -> tuple[Array, Array]:
    """Sort the ids, int32 [N], and return the sorted ids and the original position of each, both int32 [N]."""
    count = len(ids)
    keys = cp.empty(count, np.int64)  # [N]
    SCATTER.launch("make_keys", dtype, blocks_for(count, THREADS), THREADS, ids, keys, np.int32(count))
    keys = cp.sort(keys)
    ids, positions = cp.empty(count, np.int32), cp.empty(count, np.int32)  # [N]
    SCATTER.launch("split_keys", dtype, blocks_for(count, THREADS), THREADS, keys, ids, positions, np.int32(count))
    return ids, positions


def column_blocks(width: int, dtype: np.dtype, is_aligned: bool) -> tuple[int, int]:
    """The threads per block, and the number of blocks that cover the columns, with one pack of columns per thread."""
    packs = width // (vector_size(dtype) if is_aligned else 1)
    threads = min(blocks_for(packs, 32) * 32, MOST_COLUMNS)
    return threads, blocks_for(packs, threads)
