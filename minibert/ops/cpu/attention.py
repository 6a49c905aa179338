"""Multi-head self-attention over a ragged batch, one head of one sequence at a time, from first product to last.

A thread takes one head of one sequence and a block of QUERIES queries, whose scores for all T keys fit in its cache.
Nothing else is stored: memory is linear in the number of tokens.

Scores are transposed with respect to the paper, [T, queries], a row for each key.  Then the maximum and the sum over
keys run down the columns, with eight queries side by side in a vector, and so does dropout: one call of Philox decides
on eight neighbouring keys of one query.
"""

from typing import NamedTuple

import numpy as np

from minibert.base.arrays import Cache, DTypeLike
from minibert.ops.cpu.compiler import helper, inlined, kernel, prange, summing, threads
from minibert.ops.cpu.dropout import as_drops
from minibert.ops.cpu.elementary import exponential
from minibert.ops.cpu.memory import contiguous, empty
from minibert.ops.cpu.products import (
    block,
    multiply,
    multiply_by_transposed,
    multiply_transposed,
    one_blas_thread,
    restore_blas_threads,
)
from minibert.ops.cpu.random_bits import philox
from minibert.ops.dropout import Dropout

QUERIES = 128  # per block; a multiple of LANES
LANES = 8  # queries in a 256-bit vector of float32
KEYS_PER_CALL = 8  # keys whose dropout one call of Philox decides


class Layout(NamedTuple):
    """The layout of a batch, as attention needs it: see the reference."""

    heads: int
    cu_seqlens_q: np.ndarray
    cu_seqlens_k: np.ndarray
    positions_q: np.ndarray
    causal: bool


class Scratch(NamedTuple):
    """Each thread's scratch memory for a block of queries."""

    matrices: np.ndarray
    """[threads, 1 or 2, T, QUERIES]: the scores, and in the backward pass their gradients"""
    numbers: np.ndarray
    """[threads, 2, QUERIES]: two values for each query"""
    positions: np.ndarray
    """uint64 [threads, QUERIES]: the queries' positions, which are part of dropout's counter"""
    words: np.ndarray
    """uint32 [threads, 4, QUERIES]: the random words that decide on KEYS_PER_CALL keys of each query"""


def attention_forward(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    heads: int,
    cu_seqlens_q: np.ndarray,
    cu_seqlens_k: np.ndarray,
    positions_q: np.ndarray,
    causal: bool = False,
    dropout: Dropout | None = None,
) -> tuple[np.ndarray, Cache]:
    """Each query looks at all keys of its sequence: see minibert.ops.reference.attention for the arguments."""
    query, key, value = contiguous(query, key, value)
    context = empty(query.shape, query.dtype)
    log_sums = empty((heads, len(query)), query.dtype)  # [A, Nq]
    layout = Layout(heads, cu_seqlens_q, cu_seqlens_k, positions_q, bool(causal))
    drops = as_drops(dropout)
    forward(query, key, value, layout, drops, context, log_sums, shares(layout), scratch_for(layout, 1, query.dtype))
    return context, (query, key, value, layout, drops, context, log_sums)


def attention_backward(d_context: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """d_context [Nq, H] -> d_query [Nq, H], d_key [N, H], d_value [N, H]."""
    query, key, value, layout, drops, context, log_sums = cache
    d_context, context = contiguous(d_context, context)
    d_query, d_key, d_value = (empty(x.shape, x.dtype) for x in (query, key, value))
    scratch = scratch_for(layout, 2, query.dtype)
    backward(
        d_context, query, key, value, layout, drops, context, log_sums, d_query, d_key, d_value, shares(layout), scratch
    )  # fmt: skip
    return d_query, d_key, d_value


def shares(layout: Layout) -> np.ndarray:
    """How tasks are shared among threads, int64 [threads + 1]: thread p takes those from shares[p] to shares[p + 1].

    Task t is head t // B of sequence t % B.  The work, queries times keys, is divided into equal parts.
    """
    lengths_q, lengths_k = np.diff(layout.cu_seqlens_q), np.diff(layout.cu_seqlens_k)
    work = np.cumsum(np.tile(lengths_q * lengths_k + 1.0, layout.heads))  # [A * B], up to and including each task
    cuts = np.searchsorted(work, work[-1] * np.arange(1, threads()) / threads() + 0.5)
    return np.concatenate([[0], cuts, [len(work)]])


def scratch_for(layout: Layout, matrices: int, dtype: DTypeLike) -> Scratch:
    longest = int(np.diff(layout.cu_seqlens_k).max())
    return Scratch(
        empty((threads(), matrices, longest, QUERIES), dtype),
        np.zeros((threads(), 2, QUERIES), dtype),
        np.zeros((threads(), QUERIES), np.uint64),
        np.empty((threads(), 4, QUERIES), np.uint32),
    )


@kernel
def forward(query, key, value, layout, drops, context, log_sums, shares, scratch):
    before = one_blas_thread()
    for part in prange(len(shares) - 1):
        for task in range(shares[part], shares[part + 1]):
            attend(query, key, value, layout, drops, context, log_sums, np.int64(task), scratch, np.int64(part))
    restore_blas_threads(before)


@helper
def attend(query, key, value, layout, drops, context, log_sums, task, scratch, part):
    """One head of one sequence: its part of context [Nq, H] and of log_sums [A, Nq]."""
    head, b, left, width = head_and_sequence(task, query, layout)
    top, keys = layout.cu_seqlens_k[b], layout.cu_seqlens_k[b + 1] - layout.cu_seqlens_k[b]
    maxima, sums, scores = scratch.numbers[part, 0], scratch.numbers[part, 1], scratch.matrices[part, 0]
    zero, one = type(sums[0])(0), type(sums[0])(1)
    k, v, s = block(key, top, left), block(value, top, left), block(scores, 0, 0)
    for start in range(layout.cu_seqlens_q[b], layout.cu_seqlens_q[b + 1], QUERIES):
        queries = min(QUERIES, layout.cu_seqlens_q[b + 1] - start)
        q, out = block(query, start, left), block(context, start, left)
        multiply_by_transposed(keys, queries, width, one, k, q, zero, s)  # [T, queries] = [T, D] @ [queries, D].T
        prepare(scores, keys, queries, layout, drops, start, scratch.positions[part])
        softmax(scores, keys, queries, width**-0.5, drops, head, b, scratch, part)
        multiply_transposed(queries, width, keys, one, s, v, zero, out)  # [queries, D] = [T, queries].T @ [T, D]
        for i in range(queries):
            log_sums[head, start + i] = maxima[i] + np.log(sums[i])
            multiply_row(context[start + i, left : left + width], type(one)(drops.scale) / sums[i])


@helper
def multiply_row(row, factor):
    for j in range(len(row)):
        row[j] *= factor


@inlined
def head_and_sequence(task, query, layout):
    """A task's head, its sequence, the head's first feature, and its width D."""
    sequences, width = len(layout.cu_seqlens_k) - 1, query.shape[1] // layout.heads
    head = task // sequences
    return head, task % sequences, head * width, width


@inlined
def prepare(scores, keys, queries, layout, drops, start, positions):
    """If causal, mask the keys after each query's position; store the queries' positions for dropout.

    start: the index of the first query.
    """
    if layout.causal:
        for k in range(keys):
            for i in range(queries):
                if k > layout.positions_q[start + i]:
                    scores[k, i] = -np.inf
    if drops.threshold > 0:
        for i in range(queries):
            positions[i] = drops.positions[start + i]


@inlined
def in_full_vectors(queries):
    """The number of columns to compute: those beyond the queries are never read, and cost nothing."""
    return (queries + LANES - 1) // LANES * LANES


@inlined
def draw(drops, head, b, group, columns, positions, words):
    """The random words of KEYS_PER_CALL keys, for each query: words uint32 [4, QUERIES]."""
    k0, k1, sequence, site = drops.key[0], drops.key[1], np.uint64(drops.sequences[b]), np.uint64(drops.site + head)
    first, second, third, fourth = words[0], words[1], words[2], words[3]
    for i in range(columns):
        first[i], second[i], third[i], fourth[i] = philox(np.uint64(group), positions[i], sequence, site, k0, k1)


@inlined
def decision(word, k):
    """The sixteen bits that decide on key k: an odd key's are the upper half of the word."""
    return (word >> np.uint32(16 * (k % 2))) & np.uint32(0xFFFF)


@helper
def softmax(scores, keys, queries, scale, drops, head, b, scratch, part):
    """Turn scores [T, QUERIES] into exp(scale * score - maxima), with dropout, in place.

    keys, queries: how many there are.  Writes to the thread's numbers the maxima of scale * score over the keys, and
    the sums of the exponentials before dropout.
    """
    columns, number = in_full_vectors(queries), type(scores[0, 0])
    scale, threshold = number(scale), np.uint32(drops.threshold)
    maxima, sums = scratch.numbers[part, 0], scratch.numbers[part, 1]
    positions, words = scratch.positions[part], scratch.words[part]
    for i in range(columns):
        maxima[i], sums[i] = -np.inf, 0
    for k in range(keys):
        row = scores[k]
        for i in range(queries, columns):
            row[i] = 0
        for i in range(columns):
            maxima[i] = row[i] if row[i] > maxima[i] else maxima[i]
    for i in range(columns):
        maxima[i] *= scale
    for k in range(keys):
        row = scores[k]
        for i in range(columns):
            row[i] = exponential(row[i] * scale - maxima[i])
        for i in range(columns):
            sums[i] += row[i]
        if threshold > 0:
            if k % KEYS_PER_CALL == 0:
                draw(drops, head, b, k // KEYS_PER_CALL, columns, positions, words)
            word = words[k % KEYS_PER_CALL // 2]
            for i in range(columns):
                row[i] = row[i] if decision(word[i], k) >= threshold else number(0)


@kernel
def backward(d_context, query, key, value, layout, drops, context, log_sums, d_query, d_key, d_value, shares, scratch):
    before = one_blas_thread()
    for part in prange(len(shares) - 1):
        for task in range(shares[part], shares[part + 1]):
            attend_backward(
                d_context,
                query,
                key,
                value,
                layout,
                drops,
                context,
                log_sums,
                d_query,
                d_key,
                d_value,
                np.int64(task),
                scratch,
                np.int64(part),
            )
    restore_blas_threads(before)


@helper
def attend_backward(
    d_context, query, key, value, layout, drops, context, log_sums, d_query, d_key, d_value, task, scratch, part
):  # fmt: skip
    """One head of one sequence: its parts of d_query [Nq, H], d_key and d_value [N, H]."""
    head, b, left, width = head_and_sequence(task, query, layout)
    top, keys = layout.cu_seqlens_k[b], layout.cu_seqlens_k[b + 1] - layout.cu_seqlens_k[b]
    log_sum, mean, scores, d_scores = (
        scratch.numbers[part, 0],
        scratch.numbers[part, 1],
        scratch.matrices[part, 0],
        scratch.matrices[part, 1],
    )
    zero, one = type(mean[0])(0), type(mean[0])(1)
    k, v, s, d_s = block(key, top, left), block(value, top, left), block(scores, 0, 0), block(d_scores, 0, 0)
    d_k, d_v = block(d_key, top, left), block(d_value, top, left)
    keep = zero  # the first block of queries overwrites d_k and d_v, the others add to them
    if layout.cu_seqlens_q[b] == layout.cu_seqlens_q[b + 1]:  # this sequence has no queries
        for i in range(top, top + keys):
            for j in range(left, left + width):
                d_key[i, j], d_value[i, j] = 0, 0
    for start in range(layout.cu_seqlens_q[b], layout.cu_seqlens_q[b + 1], QUERIES):
        queries = min(QUERIES, layout.cu_seqlens_q[b + 1] - start)
        q, d_q, d_out = block(query, start, left), block(d_query, start, left), block(d_context, start, left)
        multiply_by_transposed(keys, queries, width, one, k, q, zero, s)  # recompute the scores
        # context = dropped @ v
        multiply_by_transposed(keys, queries, width, one, v, d_out, zero, d_s)
        prepare(scores, keys, queries, layout, drops, start, scratch.positions[part])
        for i in range(queries):
            log_sum[i] = log_sums[head, start + i]
            features = slice(left, left + width)
            mean[i] = inner_product(d_context[start + i, features], context[start + i, features])
        softmax_slope(scores, d_scores, keys, queries, width**-0.5, drops, head, b, scratch, part)
        multiply(keys, width, queries, one, s, d_out, keep, d_v)
        # scores = q @ k.T / sqrt(D)
        multiply(keys, width, queries, one, d_s, q, keep, d_k)
        multiply_transposed(queries, width, keys, one, d_s, k, zero, d_q)
        keep = one


@helper
def softmax_slope(p, d_p, keys, queries, scale, drops, head, b, scratch, part):
    """Turn scores and gradients of the dropped-out probabilities into those probabilities and gradients of q @ k.T.

    p, d_p [T, QUERIES], changed in place.  For each query, reads from the thread's numbers the log of its softmax's
    denominator, and the mean of its d_p under its dropped-out probabilities: that is d_context . context (Dao et al.
    2022, appendix B.4).
    """
    columns, number = in_full_vectors(queries), type(p[0, 0])
    scale, kept, threshold = number(scale), number(drops.scale), np.uint32(drops.threshold)
    log_sum, mean = scratch.numbers[part, 0], scratch.numbers[part, 1]
    positions, words = scratch.positions[part], scratch.words[part]
    for k in range(keys):
        row, d_row = p[k], d_p[k]
        for i in range(queries, columns):
            row[i], d_row[i] = 0, 0
        for i in range(columns):
            row[i] = exponential(row[i] * scale - log_sum[i])
        if threshold > 0:
            if k % KEYS_PER_CALL == 0:
                draw(drops, head, b, k // KEYS_PER_CALL, columns, positions, words)
            word = words[k % KEYS_PER_CALL // 2]
            for i in range(columns):
                dropped = row[i] * kept if decision(word[i], k) >= threshold else number(0)
                d_row[i] = scale * (dropped * d_row[i] - row[i] * mean[i])
                row[i] = dropped
        else:
            for i in range(columns):
                d_row[i] = scale * row[i] * (d_row[i] - mean[i])


@summing
def inner_product(x, y):
    """The inner product of two rows [D]."""
    total = type(x[0])(0)
    for j in range(len(x)):
        total += x[j] * y[j]
    return total
