"""The input embeddings of BERT: the sum of a token, a position and a segment vector (BERT paper, figure 2)."""

from collections.abc import Sequence

import numpy as np

from minibert.base.arrays import Array, Cache
from minibert.ops.gpu.kernels import CudaFile, blocks_for, sum_type
from minibert.ops.gpu.layout import THREADS, aligned, both, contiguous, given, indices, pack_size, variant
from minibert.ops.gpu.library import cp
from minibert.ops.gpu.scatter import scatter_add

EMBEDDING = CudaFile("embedding.cu", *both("look_up"), headers=("packs.cuh",))


def embedding_forward(
    token_ids: Array,
    position_ids: Array,
    segment_ids: Array,
    token_weight: Array,
    position_weight: Array,
    segment_weight: Array,
) -> tuple[Array, Cache]:
    """The sum of three table rows for each token; see minibert.ops.reference.embedding."""
    ids = [indices(array) for array in (token_ids, position_ids, segment_ids)]
    tables = contiguous(token_weight, position_weight, segment_weight)
    rows, width, dtype = len(ids[0]), tables[0].shape[1], tables[0].dtype
    y = cp.empty((rows, width), dtype)  # [N, H]
    blocks = blocks_for(rows * width // pack_size(width, dtype), THREADS)
    name = variant("look_up", aligned(width, dtype))
    EMBEDDING.launch(name, dtype, blocks, THREADS, *ids, *tables, y, np.int64(rows), np.int32(width))
    return y, (*ids, [table.shape for table in tables])


def embedding_backward(
    d_y: Array, cache: Cache, accumulate_into: Sequence[Array | None] = (None, None, None)
) -> tuple[Array, Array, Array]:
    """The gradients of the three tables, from d_y [N, H]; see the reference for `accumulate_into`.

    For 16-bit tensors, the gradients are float32.
    """
    *ids, shapes = cache
    tables = [given(buffer, shape, sum_type(d_y.dtype)) for buffer, shape in zip(accumulate_into, shapes, strict=True)]
    # y = token_weight[token_ids] + position_weight[position_ids] + segment_weight[segment_ids]
    for of_table, table in zip(ids, tables, strict=True):
        scatter_add(d_y, of_table, table)
    d_token, d_position, d_segment = tables
    return d_token, d_position, d_segment
