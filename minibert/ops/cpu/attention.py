"""Multi-head self-attention over a ragged batch: one head of one sequence at a time, from first product to last.

A thread takes one head of one sequence and a block of QUERIES queries, whose scores for all T keys fit in its cache.
Nothing else is stored: memory is linear in the tokens.

Scores stand the other way round than on paper, [T, queries], a row for each key.  Then the maximum and the sum over the
keys run down the columns, eight queries side by side in a vector, and so does dropout: one call of Philox settles eight
neighbouring keys of one query.
"""

import numpy as np

from minibert.ops.cpu.blas import (
    as_many_blas_threads_as,
    multiply,
    multiply_by_transposed,
    multiply_transposed,
    one_blas_thread,
)
from minibert.ops.cpu.compiler import helper, kernel, prange, summing, threads
from minibert.ops.cpu.dropout import as_drops
from minibert.ops.cpu.elementary import exponential
from minibert.ops.cpu.memory import empty
from minibert.ops.cpu.random_bits import philox

QUERIES = 64  # in a block, a multiple of LANES
LANES = 8  # queries that fill a vector of 256 bits in float32
KEYS_PER_CALL = 8  # whose dropout one call of Philox settles


def attention_forward(query, key, value, heads, cu_seqlens_q, cu_seqlens_k, positions_q, causal=False, dropout=None):
    """Each query looks at all keys of its sequence: see minibert.ops.reference.attention for the arguments."""
    context = empty(query.shape, query.dtype)
    log_sums = empty((heads, len(query)), query.dtype)  # [A, Nq]
    layout = heads, cu_seqlens_q, cu_seqlens_k, positions_q, bool(causal), as_drops(dropout)
    forward(query, key, value, *layout, context, log_sums, *workspace(1, layout, query.dtype))
    return context, (query, key, value, layout, context, log_sums)


def attention_backward(d_context, cache):
    """d_context [Nq, H] -> d_query [Nq, H], d_key [N, H], d_value [N, H]."""
    query, key, value, layout, context, log_sums = cache
    gradients = [empty(x.shape, x.dtype) for x in (query, key, value)]
    inputs = d_context, query, key, value, context, log_sums
    backward(*inputs, *layout, *gradients, *workspace(2, layout, query.dtype))
    return tuple(gradients)


def workspace(matrices, layout, dtype):
    """Which heads of which sequences each thread takes, and its room for one block of queries.

    Returns bounds int64 [parts + 1]: thread p takes the tasks bounds[p] .. bounds[p + 1], where task number t is head
    t // B of sequence t % B; matrices [parts, matrices, T, QUERIES]; numbers [parts, 2, QUERIES], two for each query;
    places uint64 [parts, QUERIES]; words uint32 [parts, 4, QUERIES].
    """
    heads, cu_seqlens_q, cu_seqlens_k = layout[:3]
    parts, lengths = threads(), np.diff(cu_seqlens_k)
    work = np.tile(np.cumsum(np.diff(cu_seqlens_q) * lengths + 1.0), heads)
    work += np.repeat(np.arange(heads), len(lengths)) * work[len(lengths) - 1]  # [A * B], done with each task
    bounds = np.searchsorted(work, work[-1] * np.arange(parts + 1) / parts - work[-1] * 1e-9)
    bounds[-1] = len(work)
    return (
        bounds,
        empty((parts, matrices, int(lengths.max()), QUERIES), dtype),
        np.zeros((parts, 2, QUERIES), dtype),
        np.zeros((parts, QUERIES), np.uint64),
        np.empty((parts, 4, QUERIES), np.uint32),
    )


@kernel
def forward(
    query, key, value, heads, cu_seqlens_q, cu_seqlens_k, positions_q, causal, drops, context, log_sums,
    bounds, matrices, numbers, places, words,
):  # fmt: skip
    before = one_blas_thread()
    sequences, width = len(cu_seqlens_k) - 1, query.shape[1] // heads
    for part in prange(len(matrices)):
        highest, sums = numbers[part, 0], numbers[part, 1]
        for task in range(bounds[part], bounds[part + 1]):
            head, b = task // sequences, task % sequences
            left, right = head * width, (head + 1) * width
            top, bottom = cu_seqlens_k[b], cu_seqlens_k[b + 1]
            scores = matrices[part, 0, : bottom - top]  # [T, QUERIES]
            for start in range(cu_seqlens_q[b], cu_seqlens_q[b + 1], QUERIES):
                stop = min(start + QUERIES, cu_seqlens_q[b + 1])
                queries = stop - start
                multiply_by_transposed(
                    1.0, key[top:bottom, left:right], query[start:stop, left:right], 0.0, scores[:, :queries]
                )
                if causal:
                    hide_what_lies_behind(scores, positions_q[start:stop])
                note_places(drops, start, stop, places[part])
                softmax(scores, width**-0.5, queries, drops, drops.site + head, b, places[part], words[part], highest, sums)
                out = context[start:stop, left:right]  # [queries, D]
                multiply_transposed(1.0, scores[:, :queries], value[top:bottom, left:right], 0.0, out)
                for i in range(queries):
                    log_sums[head, start + i] = highest[i] + np.log(sums[i])
                    share = type(sums[0])(drops.scale) / sums[i]
                    row = context[start + i]
                    for j in range(left, right):
                        row[j] *= share
    as_many_blas_threads_as(before)


@helper
def hide_what_lies_behind(scores, positions):
    """Minus infinity where a key's position, its row's number, is greater than the query's; positions [queries]."""
    for k in range(len(scores)):
        row = scores[k]
        for i in range(len(positions)):
            if k > positions[i]:
                row[i] = -np.inf


@helper
def in_full_vectors(queries):
    """The number of columns that are computed: garbage beyond the queries is never read, and costs nothing."""
    return (queries + LANES - 1) // LANES * LANES


@helper
def note_places(drops, start, stop, places):
    """The positions of the queries start to stop, as dropout counts them; places uint64 [QUERIES]."""
    if drops.threshold > 0:
        for i in range(stop - start):
            places[i] = drops.positions[start + i]


@helper
def draw(drops, site, b, group, columns, places, words):
    """The random words that decide on KEYS_PER_CALL keys of each query: words uint32 [4, QUERIES]."""
    k0, k1 = drops.key[0], drops.key[1]
    group, sequence, site = np.uint64(group), np.uint64(drops.sequences[b]), np.uint64(site)
    first, second, third, fourth = words[0], words[1], words[2], words[3]
    for i in range(columns):
        first[i], second[i], third[i], fourth[i] = philox(group, places[i], sequence, site, k0, k1)


@helper
def decision(word, shift):
    """Sixteen bits of a word."""
    return (word >> shift) & np.uint32(0xFFFF)


@helper
def softmax(scores, scale, queries, drops, site, b, places, words, highest, sums):
    """exp(scale * (score - highest)) in the place of the scores [T, QUERIES], some dropped, and their sums undropped.

    highest, sums [QUERIES]: scale times the maximum over the keys, and the sum.
    """
    columns, number = in_full_vectors(queries), type(scores[0, 0])
    scale = number(scale)
    for i in range(columns):
        highest[i], sums[i] = -np.inf, 0
    for k in range(len(scores)):
        row = scores[k]
        for i in range(queries, columns):
            row[i] = 0
        for i in range(columns):
            highest[i] = row[i] if row[i] > highest[i] else highest[i]
    for i in range(columns):
        highest[i] *= scale
    for k in range(len(scores)):
        row = scores[k]
        for i in range(columns):
            row[i] = exponential(row[i] * scale - highest[i])
        for i in range(columns):
            sums[i] += row[i]
        if drops.threshold > 0:
            if k % KEYS_PER_CALL == 0:
                draw(drops, site, b, k // KEYS_PER_CALL, columns, places, words)
            word, shift = words[k % KEYS_PER_CALL // 2], np.uint32(16 * (k % 2))
            threshold = np.uint32(drops.threshold)
            for i in range(columns):
                row[i] = row[i] if decision(word[i], shift) >= threshold else number(0)


@kernel
def backward(
    d_context, query, key, value, context, log_sums, heads, cu_seqlens_q, cu_seqlens_k, positions_q, causal, drops,
    d_query, d_key, d_value, bounds, matrices, numbers, places, words,
):  # fmt: skip
    before = one_blas_thread()
    sequences, width = len(cu_seqlens_k) - 1, query.shape[1] // heads
    for part in prange(len(matrices)):
        logs, means = numbers[part, 0], numbers[part, 1]
        for task in range(bounds[part], bounds[part + 1]):
            head, b = task // sequences, task % sequences
            left, right = head * width, (head + 1) * width
            top, bottom = cu_seqlens_k[b], cu_seqlens_k[b + 1]
            k, v = key[top:bottom, left:right], value[top:bottom, left:right]  # [T, D]
            d_k, d_v = d_key[top:bottom, left:right], d_value[top:bottom, left:right]  # [T, D]
            if cu_seqlens_q[b] == cu_seqlens_q[b + 1]:  # nobody asks in this sequence
                d_k[:] = 0
                d_v[:] = 0
            for start in range(cu_seqlens_q[b], cu_seqlens_q[b + 1], QUERIES):
                stop = min(start + QUERIES, cu_seqlens_q[b + 1])
                queries, keep = stop - start, 0.0 if start == cu_seqlens_q[b] else 1.0
                q, d_out = query[start:stop, left:right], d_context[start:stop, left:right]  # [queries, D]
                p, d_p = matrices[part, 0, : bottom - top], matrices[part, 1, : bottom - top]  # [T, QUERIES]
                multiply_by_transposed(1.0, k, q, 0.0, p[:, :queries])  # the scores, once more
                # context = dropped @ v
                multiply_by_transposed(1.0, v, d_out, 0.0, d_p[:, :queries])
                if causal:
                    hide_what_lies_behind(p, positions_q[start:stop])
                note_places(drops, start, stop, places[part])
                for i in range(queries):
                    logs[i] = log_sums[head, start + i]
                    means[i] = dot(d_context[start + i], context[start + i], left, right)
                softmax_slope(p, d_p, width**-0.5, queries, drops, drops.site + head, b, places[part], words[part], logs, means)
                multiply(1.0, p[:, :queries], d_out, keep, d_v)
                # scores = q @ k.T / sqrt(D)
                multiply(1.0, d_p[:, :queries], q, keep, d_k)
                multiply_transposed(1.0, d_p[:, :queries], k, 0.0, d_query[start:stop, left:right])
    as_many_blas_threads_as(before)


@helper
def softmax_slope(p, d_p, scale, queries, drops, site, b, places, words, logs, means):
    """From scores p and gradients d_p of the dropped probabilities to dropped probabilities p and gradients d_p of q @ k.T.

    p, d_p [T, QUERIES]; logs [QUERIES]: the softmax's denominators; means [QUERIES]: each query's mean of d_p under its
    probabilities, which equals d_context . context (Dao et al. 2022, appendix B.4).
    """
    columns, number = in_full_vectors(queries), type(p[0, 0])
    scale, kept = number(scale), number(drops.scale)
    for k in range(len(p)):
        row, d_row = p[k], d_p[k]
        for i in range(queries, columns):
            row[i], d_row[i] = 0, 0
        for i in range(columns):
            row[i] = exponential(row[i] * scale - logs[i])
        if drops.threshold > 0:
            if k % KEYS_PER_CALL == 0:
                draw(drops, site, b, k // KEYS_PER_CALL, columns, places, words)
            word, shift = words[k % KEYS_PER_CALL // 2], np.uint32(16 * (k % 2))
            threshold = np.uint32(drops.threshold)
            for i in range(columns):
                dropped = row[i] * kept if decision(word[i], shift) >= threshold else number(0)
                d_row[i] = scale * (dropped * d_row[i] - row[i] * means[i])
                row[i] = dropped
        else:
            for i in range(columns):
                d_row[i] = scale * row[i] * (d_row[i] - means[i])


@summing
def dot(x, y, left, right):
    """The inner product of features left to right of two rows."""
    total = type(x[0])(0)
    for j in range(left, right):
        total += x[j] * y[j]
    return total
