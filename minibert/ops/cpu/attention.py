"""Multi-head self-attention over a ragged batch, in which each thread processes one head of one sequence at a time.

For a head of a sequence, a thread processes QUERIES queries at a time, whose scores for all T keys fit in its cache,
and completes every step for them before it goes on.  No other scores are stored, so memory is linear in the number
of tokens.

Scores are transposed with respect to the paper, [T, queries], with one row per key.  So the maximum and the sum over
keys are computed for eight adjacent queries at a time in one vector.  Dropout is vectorised over queries in the same
way; one call of Philox decides on eight adjacent keys of one query.
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

QUERIES = 128  # queries per block; a multiple of LANES
LANES = 8  # queries in a 256-bit vector of float32
KEYS_PER_CALL = 8  # keys for which one call of Philox decides on dropout


class Layout(NamedTuple):
    """The arguments of attention that describe a batch; see minibert.ops.reference.attention for their meaning."""

    heads: int
    cu_seqlens_q: np.ndarray
    cu_seqlens_k: np.ndarray
    positions_q: np.ndarray
    causal: bool


class Scratch(NamedTuple):
    """The scratch memory in which each thread processes a block of queries."""

    matrices: np.ndarray
    """[threads, 1 or 2, T, QUERIES]: the scores, and in the backward pass also their gradients"""
    numbers: np.ndarray
    """[threads, 2, QUERIES]: two values per query: maximum and sum (forward), or log of the sum and mean (backward)"""
    positions: np.ndarray
    """uint64 [threads, QUERIES]: the queries' positions, which are part of dropout's counter"""
    words: np.ndarray
    """uint32 [threads, 4, QUERIES]: the random words that decide on dropout for KEYS_PER_CALL keys of each query"""


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
    """Multi-head attention over a ragged batch; see minibert.ops.reference.attention for the arguments."""
    query, key, value = contiguous(query, key, value)
    context = empty(query.shape, query.dtype)
    log_sums = empty((heads, len(query)), query.dtype)  # [A, Nq]
    layout = Layout(heads, cu_seqlens_q, cu_seqlens_k, positions_q, bool(causal))
    drops = as_drops(dropout)
    forward(query, key, value, layout, drops, context, log_sums, shares(layout), scratch_for(layout, 1, query.dtype))
    return context, (query, key, value, layout, drops, context, log_sums)


def attention_backward(d_context: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The backward pass of attention_forward: d_context [Nq, H] -> d_query [Nq, H], d_key [N, H], d_value [N, H]."""
    query, key, value, layout, drops, context, log_sums = cache
    d_context, context = contiguous(d_context, context)
    d_query, d_key, d_value = (empty(x.shape, x.dtype) for x in (query, key, value))
    scratch = scratch_for(layout, 2, query.dtype)
    backward(
        d_context, query, key, value, layout, drops, context, log_sums, d_query, d_key, d_value, shares(layout), scratch
    )  # fmt: skip
    return d_query, d_key, d_value


def shares(layout: Layout) -> np.ndarray:
    """The division of tasks among threads, int64 [threads + 1]: thread p takes tasks shares[p] to shares[p + 1] - 1.

    Task t is head t // B of sequence t % B.  All threads get about the same amount of work, measured as the number of
    queries times the number of keys.
    """
    lengths_q, lengths_k = np.diff(layout.cu_seqlens_q), np.diff(layout.cu_seqlens_k)
    work = np.cumsum(np.tile(lengths_q * lengths_k + 1.0, layout.heads))  # [A * B], the total up to each task's end
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
    """Compute attention for one head of one sequence, and write its part of context [Nq, H] and log_sums [A, Nq]."""
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
    """A task's head and sequence, and the head's first feature and width D."""
    sequences, width = len(layout.cu_seqlens_k) - 1, query.shape[1] // layout.heads
    head = task // sequences
    return head, task % sequences, head * width, width


@inlined
def prepare(scores, keys, queries, layout, drops, start, positions):
    """Mask the keys after each query's position if causal, and store the queries' positions if dropout needs them.

    start: the index of the block's first query.
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
    """The number of queries, rounded up to full vectors: the results of the extra columns are never used."""
    return (queries + LANES - 1) // LANES * LANES


@inlined
def draw(drops, head, b, group, columns, positions, words):
    """Write the random words for KEYS_PER_CALL keys, those of the given group, to words uint32 [4, QUERIES]."""
    k0, k1, sequence, site = drops.key[0], drops.key[1], np.uint64(drops.sequences[b]), np.uint64(drops.site + head)
    first, second, third, fourth = words[0], words[1], words[2], words[3]
    for i in range(columns):
        first[i], second[i], third[i], fourth[i] = philox(np.uint64(group), positions[i], sequence, site, k0, k1)


@inlined
def decision(word, k):
    """The sixteen bits of a word that decide on dropout for key k: the upper half if k is odd, else the lower half."""
    return (word >> np.uint32(16 * (k % 2))) & np.uint32(0xFFFF)


@helper
def softmax(scores, keys, queries, scale, drops, head, b, scratch, part):
    """Replace scores [T, QUERIES] by the softmax's numerators exp(scale * score - maximum), with dropout applied.

    keys, queries: the number of keys and of queries.  For each query, writes to the thread's part of scratch.numbers
    the maximum of scale * score over the keys, and the sum of the exponentials before dropout.
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
    """The backward pass for one head of one sequence: writes its parts of d_query [Nq, H], d_key, d_value [N, H]."""
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
    """The backward pass of the softmax and its dropout, in place on p and d_p [T, QUERIES].

    p holds the scores q @ k.T, and is replaced by the probabilities after dropout; d_p holds the gradients of the
    probabilities after dropout, and is replaced by those of q @ k.T.  For each query, reads from the thread's part of
    scratch.numbers the log of the softmax's denominator, and the mean of d_p, weighted by the probabilities after
    dropout, which equals d_context . context (Dao et al. 2022, appendix B.4).
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
