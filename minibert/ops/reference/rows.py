"""Select rows of a batch by index (gather_rows), and average the rows of each sequence (mean_pool)."""

import numpy as np

from minibert.base.arrays import Cache
from minibert.ops.reference.embedding import scatter_add


def gather_rows_forward(x: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, Cache]:
    """Select the rows of x with the given indices, for example those of the masked tokens, or of each [CLS] token.

    x [N, H]; rows: integers [M], in any order, repeats allowed.
    Returns y [M, H] and the cache that gather_rows_backward takes.
    """
    return x[rows], (rows, x.shape)


def gather_rows_backward(d_y: np.ndarray, cache: Cache, accumulate_into: np.ndarray | None = None) -> np.ndarray:
    """The backward pass, d_y [M, H] -> d_x [N, H], where rows that were not selected get a zero gradient.

    accumulate_into: an array to which the gradient is added in place and which is then returned; or None.
    """
    rows, shape = cache
    # y = x[rows]
    return scatter_add(d_y, rows, shape, accumulate_into)


def mean_pool_forward(x: np.ndarray, cu_seqlens: np.ndarray) -> tuple[np.ndarray, Cache]:
    """The mean of each sequence's token vectors, which gives one vector per sequence.

    x [N, H]; cu_seqlens: integers [B + 1], with no empty sequence.
    Returns y [B, H] and the cache that mean_pool_backward takes.  Raises ValueError for an empty sequence.
    Source: Reimers and Gurevych 2019, section 3.
    """
    lengths = np.diff(cu_seqlens)  # [B]
    if (lengths < 1).any():
        raise ValueError("mean_pool: a sequence has no tokens, so it has no mean; remove it from the batch")
    sums = np.add.reduceat(x, cu_seqlens[:-1], axis=0)  # [B, H]
    return sums / lengths[:, None].astype(x.dtype), (lengths,)


def mean_pool_backward(d_y: np.ndarray, cache: Cache) -> np.ndarray:
    """The backward pass, d_y [B, H] -> d_x [N, H], where the tokens of a sequence share its gradient equally."""
    (lengths,) = cache
    # y = sum of the sequence's rows / its length
    return np.repeat(d_y / lengths[:, None].astype(d_y.dtype), lengths, axis=0)
