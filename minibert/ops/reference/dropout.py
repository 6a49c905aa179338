"""Dropout with a counter-based mask, which is recomputed instead of stored; minibert.ops.dropout defines the mask."""

import numpy as np

from minibert.base.arrays import Cache, DTypeLike
from minibert.base.philox import philox4x32
from minibert.ops.dropout import Dropout


def dropout_forward(x: np.ndarray, dropout: Dropout) -> tuple[np.ndarray, Cache]:
    """Set a random fraction of the values to zero, and scale the others to preserve the expectation.

    x [N, H]; dropout: a minibert.ops.Dropout with `sequences` and `positions` [N].
    Returns y [N, H] and the cache that dropout_backward takes.  Source: Srivastava et al. 2014; BERT, appendix A.2.
    """
    return x * dropout_mask(dropout, x.shape[1], x.dtype), dropout


def dropout_backward(d_y: np.ndarray, dropout: Dropout) -> np.ndarray:
    """The backward pass, d_y [N, H] -> d_x [N, H], with the forward pass's mask, which is recomputed."""
    # y = x * mask
    return d_y * dropout_mask(dropout, d_y.shape[1], d_y.dtype)


def dropout_mask(dropout: Dropout, features: int, dtype: DTypeLike) -> np.ndarray:
    """The dropout mask [rows, features]: 0 where a value is dropped, dropout.scale where it is kept."""
    rows = len(dropout.positions)
    groups = -(-features // 8)  # eight adjacent features share one call of Philox
    words = philox4x32(
        dropout.key,
        (
            np.arange(groups, dtype=np.uint32)[None, :],
            np.asarray(dropout.positions).astype(np.uint32)[:, None],
            np.asarray(dropout.sequences).astype(np.uint32)[:, None],
            np.uint32(dropout.site),
        ),
    )  # four arrays [rows, groups]
    # a word holds the bits of two decisions, the first in its low half
    bits = np.stack(words, axis=-1).astype("<u4").view("<u2").reshape(rows, groups * 8)  # [rows, groups * 8]
    kept = bits[:, :features] >= dropout.threshold
    return kept * np.asarray(dropout.scale, dtype=dtype)
