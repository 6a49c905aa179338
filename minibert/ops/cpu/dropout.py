"""Dropout with a counter-based mask, which is recomputed instead of stored; minibert.ops.dropout defines the mask."""

from typing import NamedTuple

import numpy as np

from minibert.base.arrays import Cache
from minibert.base.philox import key_words
from minibert.ops.cpu.compiler import chunks_of, inlined, kernel, prange, rows_of
from minibert.ops.cpu.memory import empty
from minibert.ops.cpu.random_bits import row_bits
from minibert.ops.dropout import Dropout


class Drops(NamedTuple):
    """A minibert.ops.Dropout in the form that kernels take; a threshold of 0 means no dropout."""

    threshold: int  # 0 .. 65535, int64
    scale: float  # float64
    key: np.ndarray  # uint64 [2]
    site: int
    sequences: np.ndarray  # int32 [rows], in attention [B]
    positions: np.ndarray  # int32 [rows]


NOTHING = Drops(0, 1.0, np.zeros(2, np.uint64), 0, np.zeros(1, np.int32), np.zeros(1, np.int32))


def as_drops(dropout: Dropout | None) -> Drops:
    """Convert a minibert.ops.Dropout, or None for no dropout, to the form that kernels take."""
    if dropout is None:
        return NOTHING
    key = np.array(key_words(*dropout.key), np.uint64)
    sequences, positions = (np.ascontiguousarray(n, np.int32) for n in (dropout.sequences, dropout.positions))
    return Drops(dropout.threshold, dropout.scale, key, dropout.site, sequences, positions)


def dropout_forward(x: np.ndarray, dropout: Dropout) -> tuple[np.ndarray, Cache]:
    """Dropout, y = x * mask; see minibert.ops.reference.dropout."""
    y = empty(x.shape, x.dtype)
    drop(x, as_drops(dropout), y)
    return y, dropout


def dropout_backward(d_y: np.ndarray, dropout: Dropout) -> np.ndarray:
    """The backward pass, d_y [N, H] -> d_x [N, H], with the forward pass's mask, which is recomputed."""
    d_x = empty(d_y.shape, d_y.dtype)
    drop(d_y, as_drops(dropout), d_x)
    return d_x


@kernel
def drop(x, drops, y):
    for chunk in prange(chunks_of(x)):
        words = words_for(x)
        for i in rows_of(np.int64(chunk), x):
            drop_row(x[i], drops, i, words, y[i])


@inlined
def drop_row(x, drops, i, words, y):
    """Apply dropout to x [H], row i of a matrix, and write the result to y [H]; words: see words_for."""
    scale, zero, threshold = type(x[0])(drops.scale), type(x[0])(0), np.uint16(drops.threshold)
    bits = row_bits(drops.key, drops.site, drops.sequences[i], drops.positions[i], len(x), words)
    for j in range(len(x)):
        y[j] = x[j] * scale if bits[j] >= threshold else zero


@inlined
def words_for(x):
    """Allocate memory for the random words of one row of x, the `words` argument of row_bits."""
    return np.empty((x.shape[1] + 7) // 8 * 4, np.uint32)
