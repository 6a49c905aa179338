"""Dropout with a counter-based mask, which is recomputed instead of stored; minibert.ops.dropout defines the mask."""

from functools import cache

import numpy as np

from minibert.base.arrays import Array, Cache
from minibert.base.philox import key_words
from minibert.ops.dropout import Dropout
from minibert.ops.gpu.kernels import CudaFile, blocks_for, sum_type
from minibert.ops.gpu.layout import THREADS, aligned, both, contiguous, indices, pack_size, variant
from minibert.ops.gpu.library import cp

DROPOUT = CudaFile("dropout.cu", *both("dropout"), headers=("packs.cuh", "dropout.cuh"))


def dropout_forward(x: Array, dropout: Dropout) -> tuple[Array, Cache]:
    """Dropout, y = x * mask; see minibert.ops.reference.dropout."""
    return drop(x, dropout), dropout


def dropout_backward(d_y: Array, dropout: Dropout) -> Array:
    """The backward pass, d_y [N, H] -> d_x [N, H], with the forward pass's mask, which is recomputed."""
    # y = x * mask
    return drop(d_y, dropout)


def drop(x: Array, dropout: Dropout) -> Array:
    """Multiply x [N, H] by the dropout mask."""
    (x,) = contiguous(x)
    rows, width = x.shape
    y = cp.empty(x.shape, x.dtype)
    blocks = blocks_for(rows * width // pack_size(width, x.dtype), THREADS)
    name = variant("dropout", aligned(width, x.dtype))
    sizes = np.int64(rows), np.int32(width)
    DROPOUT.launch(name, x.dtype, blocks, THREADS, x, y, *sizes, *drop_arguments(dropout, x.dtype))
    return y


def drop_arguments(dropout: Dropout | None, dtype: np.dtype) -> tuple:
    """The kernel arguments for a minibert.ops.Dropout, or for None, which means no dropout.

    They are, in this order: scale, sequences, positions, the two words of the key, site, threshold.
    """
    if dropout is None:
        numbers = (0, 0, 0, 0)
        scale, sequences, positions = 1.0, nothing(), nothing()
    else:
        numbers = (*key_words(*dropout.key), dropout.site, dropout.threshold)
        scale, sequences, positions = dropout.scale, indices(dropout.sequences), indices(dropout.positions)
    return sum_type(dtype)(scale), sequences, positions, *(np.uint32(number) for number in numbers)


@cache
def nothing() -> Array:
    """A placeholder integer array, passed where a kernel takes an array argument but will not read it."""
    return cp.zeros(1, np.int32)
