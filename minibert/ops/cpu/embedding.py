"""The input embeddings of BERT: the sum of a token, a position and a segment vector (BERT paper, figure 2)."""

from collections.abc import Sequence

import numpy as np

from minibert.base.arrays import Cache
from minibert.ops.cpu.compiler import kernel, piece, prange, threads
from minibert.ops.cpu.memory import empty, zeros


def embedding_forward(
    token_ids: np.ndarray,
    position_ids: np.ndarray,
    segment_ids: np.ndarray,
    token_weight: np.ndarray,
    position_weight: np.ndarray,
    segment_weight: np.ndarray,
) -> tuple[np.ndarray, Cache]:
    """The sum of three table rows for each token; see minibert.ops.reference.embedding."""
    y = empty((len(token_ids), token_weight.shape[1]), token_weight.dtype)
    look_up(token_ids, position_ids, segment_ids, token_weight, position_weight, segment_weight, y)
    shapes = token_weight.shape, position_weight.shape, segment_weight.shape
    return y, (token_ids, position_ids, segment_ids, shapes)


def embedding_backward(
    d_y: np.ndarray, cache: Cache, accumulate_into: Sequence[np.ndarray | None] = (None, None, None)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of the three tables, from d_y [N, H]; see the reference for `accumulate_into`."""
    token_ids, position_ids, segment_ids, shapes = cache
    tables = [zeros(shape, d_y.dtype) if g is None else g for shape, g in zip(shapes, accumulate_into, strict=True)]
    for ids, table in zip((token_ids, position_ids, segment_ids), tables, strict=True):
        scatter_add(d_y, ids, table, threads())
    d_token, d_position, d_segment = tables
    return d_token, d_position, d_segment


@kernel
def look_up(token_ids, position_ids, segment_ids, token_weight, position_weight, segment_weight, y):
    # y = token_weight[token_ids] + position_weight[position_ids] + segment_weight[segment_ids]
    for i in prange(len(y)):
        row = y[i]
        token, position = token_weight[token_ids[i]], position_weight[position_ids[i]]
        segment = segment_weight[segment_ids[i]]
        for j in range(len(row)):
            row[j] = token[j] + position[j] + segment[j]


@kernel
def scatter_add(rows, ids, table, parts):
    """Add rows[i] to row ids[i] of the table, in the order of i; each thread processes a range of the features."""
    for part in prange(parts):
        left, right = piece(table.shape[1], np.int64(part), parts)
        for i in range(len(ids)):
            row, sums = rows[i, left:right], table[ids[i], left:right]
            for j in range(len(sums)):
                sums[j] += row[j]
