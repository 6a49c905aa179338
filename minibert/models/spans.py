"""Spans: where an answer begins and ends, as two softmaxes over the tokens of each sequence (BERT paper, section 4.2).

Sequences differ in length, so the scores [N, 2] of a flat batch are packed into rows of equal length, [2 B, T]: for
each sequence one row with the scores of an answer's first token, and one with those of its last.
"""

from typing import Any

import numpy as np

from minibert.base.arrays import Array, Cache
from minibert.data.task_batch import TaskBatch
from minibert.ops.backend import Backend

OUTSIDE = -1e4  # the score of positions after a sequence's end; the exponential of this number is 0 in all dtypes


def check_spans(batch: TaskBatch) -> np.ndarray | None:
    """The labels of a batch as int32 [2 B], or None.  Raises ValueError for a span outside its sequence."""
    if batch.labels is None:
        return None
    lengths = batch.tokens.lengths[:, None]  # [B, 1]
    if batch.labels.shape != (len(lengths), 2) or np.any((batch.labels < 0) | (batch.labels >= lengths)):
        raise ValueError(
            "the labels of spans must have shape [B, 2]: the first and last token of each answer in its sequence"
        )
    return np.ascontiguousarray(batch.labels.reshape(-1))


def packed_rows(batch: TaskBatch) -> np.ndarray:
    """The softmax's 2 B rows of length T, as flat indices [2 B T] into the scores [2 N], with 2 N for padding."""
    starts, lengths = batch.tokens.cu_seqlens[:-1], batch.tokens.lengths
    position = np.arange(lengths.max())  # [T]
    inside = position < lengths[:, None]  # [B, T]
    first = np.where(inside, 2 * (starts[:, None] + position), 2 * len(batch.tokens.token_ids))  # [B, T]
    last = np.where(inside, first + 1, first)
    return np.stack([first, last], axis=1).astype(np.int32).reshape(-1)


def pack(backend: Backend, logits: Array, rows: Any, sequences: int) -> tuple[Array, Cache]:
    """logits [N, 2] -> the scores of each softmax, [2 B, T], and the cache; rows: from `packed_rows`; sequences: B."""
    flat = backend.xp.empty((logits.size + 1, 1), dtype=logits.dtype)  # [2 N + 1, 1]
    flat[:-1] = logits.reshape(-1, 1)
    flat[-1] = OUTSIDE
    packed, cache = backend.gather_rows_forward(flat, rows)  # [2 B T, 1]
    return packed.reshape(2 * sequences, -1), cache


def pack_backward(backend: Backend, d_scores: Array, cache: Cache) -> Array:
    """d_scores [2 B, T] -> d_logits [N, 2]."""
    d_flat = backend.gather_rows_backward(d_scores.reshape(-1, 1), cache)  # [2 N + 1, 1]
    return d_flat[:-1].reshape(-1, 2)
