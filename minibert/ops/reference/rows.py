"""Gathering rows and averaging them: from the tokens of a batch to the few that a loss reads."""

import numpy as np

from minibert.base.arrays import Cache
from minibert.ops.reference.embedding import scatter_add


def gather_rows_forward(x: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, Cache]:
    """Take the rows of x that `rows` lists (the masked tokens, say, or each sequence's [CLS]).

    x [N, H]; rows integers [M], in any order, repeats allowed.
    Returns y [M, H] and the cache that gather_rows_backward takes.
    """
    return x[rows], (rows, x.shape)


def gather_rows_backward(d_y: np.ndarray, cache: Cache, accumulate_into: np.ndarray | None = None) -> np.ndarray:
    """d_y [M, H] -> d_x [N, H]: zero for rows that were not taken.  accumulate_into: an array
    to which it is added in place and which is returned; or None."""
    rows, shape = cache
    # y = x[rows]
    return scatter_add(d_y, rows, shape, accumulate_into)


def mean_pool_forward(x: np.ndarray, cu_seqlens: np.ndarray) -> tuple[np.ndarray, Cache]:
    """The mean of each sequence's tokens: one vector for a sentence.

    x [N, H]; cu_seqlens integers [B + 1], no sequence empty.
    Returns y [B, H] and the cache that mean_pool_backward takes.  Source: Reimers and Gurevych 2019, section 3.
    """
    lengths = np.diff(cu_seqlens)  # [B]
    if (lengths < 1).any():
        raise ValueError("mean_pool: a sequence has no tokens, so it has no mean; remove it from the batch")
    sums = np.add.reduceat(x, cu_seqlens[:-1], axis=0)  # [B, H]
    return sums / lengths[:, None].astype(x.dtype), (lengths,)


def mean_pool_backward(d_y: np.ndarray, cache: Cache) -> np.ndarray:
    """d_y [B, H] -> d_x [N, H]: every token of a sequence receives an equal share."""
    (lengths,) = cache
    # y = sum of the sequence's rows / its length
    return np.repeat(d_y / lengths[:, None].astype(d_y.dtype), lengths, axis=0)
