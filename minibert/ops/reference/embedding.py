"""The input embeddings of BERT: the sum of a token, a position and a segment vector (BERT paper, figure 2)."""

from collections.abc import Sequence

import numpy as np

from minibert.base.arrays import Cache


def embedding_forward(
    token_ids: np.ndarray,
    position_ids: np.ndarray,
    segment_ids: np.ndarray,
    token_weight: np.ndarray,
    position_weight: np.ndarray,
    segment_weight: np.ndarray,
) -> tuple[np.ndarray, Cache]:
    """Look up the vectors of each token, its position and its segment, and add the three.

    token_ids, position_ids, segment_ids: integers [N]; token_weight [V, H]; position_weight [positions, H];
    segment_weight [segments, H].
    Returns y [N, H] and the cache that embedding_backward takes.  Source: BERT paper, section 3, figure 2.
    """
    y = token_weight[token_ids] + position_weight[position_ids] + segment_weight[segment_ids]  # [N, H]
    shapes = token_weight.shape, position_weight.shape, segment_weight.shape
    return y, (token_ids, position_ids, segment_ids, shapes)


def embedding_backward(
    d_y: np.ndarray, cache: Cache, accumulate_into: Sequence[np.ndarray | None] = (None, None, None)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of the three tables, by a scatter-add: a row looked up k times receives the sum of k gradients.

    d_y [N, H] -> d_token_weight [V, H], d_position_weight [positions, H], d_segment_weight [segments, H].
    accumulate_into: for each of the three gradients, an array to which it is added in place and which is then
    returned; or None.
    """
    token_ids, position_ids, segment_ids, (token_shape, position_shape, segment_shape) = cache
    # y = token_weight[token_ids] + position_weight[position_ids] + segment_weight[segment_ids]
    d_token_weight, d_position_weight, d_segment_weight = accumulate_into
    return (
        scatter_add(d_y, token_ids, token_shape, d_token_weight),
        scatter_add(d_y, position_ids, position_shape, d_position_weight),
        scatter_add(d_y, segment_ids, segment_shape, d_segment_weight),
    )


def scatter_add(rows: np.ndarray, ids: np.ndarray, shape: tuple[int, int], out: np.ndarray | None = None) -> np.ndarray:
    """Add rows[i] to row ids[i] of a matrix, for every i: of `out`, in place, if given, otherwise of a zero matrix.

    rows [N, H]; ids: integers [N]; shape: the shape of the result.  (`out[ids] += rows` would be wrong: if an id
    occurs several times, only the last of its rows would be added.)
    """
    out = np.zeros(shape, dtype=rows.dtype) if out is None else out
    np.add.at(out, ids, rows)
    return out
