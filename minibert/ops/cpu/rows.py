"""Select rows of a batch by index (gather_rows), and average the rows of each sequence (mean_pool)."""

import numpy as np

from minibert.base.arrays import Cache
from minibert.ops.cpu.compiler import kernel, prange, threads
from minibert.ops.cpu.embedding import scatter_add
from minibert.ops.cpu.memory import empty, zeros


def gather_rows_forward(x: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, Cache]:
    """Select rows, y = x[rows]; see minibert.ops.reference.rows."""
    y = empty((len(rows), x.shape[1]), x.dtype)
    take(x, rows, y)
    return y, (rows, x.shape)


def gather_rows_backward(d_y: np.ndarray, cache: Cache, accumulate_into: np.ndarray | None = None) -> np.ndarray:
    """The backward pass of gather_rows_forward, d_y [M, H] -> d_x [N, H]; see the reference for `accumulate_into`."""
    rows, shape = cache
    d_x = zeros(shape, d_y.dtype) if accumulate_into is None else accumulate_into
    scatter_add(d_y, rows, d_x, threads())
    return d_x


def mean_pool_forward(x: np.ndarray, cu_seqlens: np.ndarray) -> tuple[np.ndarray, Cache]:
    """The mean of each sequence's rows, y [B, H]; see minibert.ops.reference.rows."""
    if (np.diff(cu_seqlens) < 1).any():
        raise ValueError("mean_pool: a sequence has no tokens, so it has no mean; remove it from the batch")
    y = empty((len(cu_seqlens) - 1, x.shape[1]), x.dtype)
    pool(x, cu_seqlens, y)
    return y, cu_seqlens


def mean_pool_backward(d_y: np.ndarray, cu_seqlens: np.ndarray) -> np.ndarray:
    """The backward pass of mean_pool_forward: d_y [B, H] -> d_x [N, H]."""
    d_x = empty((cu_seqlens[-1], d_y.shape[1]), d_y.dtype)
    share(d_y, cu_seqlens, d_x)
    return d_x


@kernel
def take(x, rows, y):
    for i in prange(len(rows)):
        for j in range(x.shape[1]):
            y[i, j] = x[rows[i], j]


@kernel
def pool(x, cu_seqlens, y):
    for b in prange(len(y)):
        row = y[b]
        row[:] = 0
        for i in range(cu_seqlens[b], cu_seqlens[b + 1]):
            row += x[i]
        row /= type(row[0])(cu_seqlens[b + 1] - cu_seqlens[b])


@kernel
def share(d_y, cu_seqlens, d_x):
    for b in prange(len(d_y)):
        row = d_y[b] / type(d_y[b, 0])(cu_seqlens[b + 1] - cu_seqlens[b])
        for i in range(cu_seqlens[b], cu_seqlens[b + 1]):
            d_x[i] = row
