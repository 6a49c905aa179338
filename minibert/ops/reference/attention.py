"""Multi-head self-attention over a ragged batch: the only op in which the tokens of a sequence interact.

The gradients are derived in lessons/04-attention.ipynb.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minibert.base.arrays import Cache
from minibert.ops.dropout import Dropout
from minibert.ops.reference.dropout import dropout_mask


def plain_attention_forward(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, Cache]:
    """Attention over one sequence as in the paper, where each query's output is a weighted mean of all values.

    Read this function first.
    q, k, v [A, T, D], with A heads.  Returns context [A, T, D] and the cache that plain_attention_backward takes.
    Source: Vaswani et al. 2017, equation 1: softmax(q @ k.T / sqrt(D)) @ v.
    """
    weights, _ = attention_weights(attention_scores(q, k))  # [A, T, T], rows are queries, columns are keys
    return weights @ v, (q, k, v, weights)


def plain_attention_backward(d_context: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The backward pass of plain_attention_forward: d_context [A, T, D] -> d_q, d_k, d_v [A, T, D]."""
    q, k, v, weights = cache
    # context = weights @ v
    d_v = weights.transpose(0, 2, 1) @ d_context
    d_weights = d_context @ v.transpose(0, 2, 1)  # [A, T, T]
    d_q, d_k = attention_weights_backward(d_weights, weights, q, k)
    return d_q, d_k, d_v


def attention_scores(q: np.ndarray, k: np.ndarray, positions_q: Any = None, causal: bool = False) -> np.ndarray:
    """The attention scores q @ k.T / sqrt(D), [A, Tq, Tk], with -inf where the causal mask hides a key.

    q [A, Tq, D]; k [A, Tk, D]; positions_q [Tq], needed only if causal: each query's position in the sequence.
    """
    scores = (q @ k.transpose(0, 2, 1)) * q.shape[2] ** -0.5
    if causal:
        unseen = np.arange(k.shape[1])[None, :] > positions_q[:, None]  # [Tq, Tk]
        scores[:, unseen] = -np.inf
    return scores


def attention_weights(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The softmax over each query's scores, [A, Tq, Tk], and the log of its denominator, [A, Tq]."""
    maximum = scores.max(axis=2, keepdims=True)  # [A, Tq, 1]
    exponentials = np.exp(scores - maximum)  # [A, Tq, Tk]
    sums = exponentials.sum(axis=2, keepdims=True)  # [A, Tq, 1]
    return exponentials / sums, (maximum + np.log(sums))[:, :, 0]


def attention_weights_backward(
    d_weights: np.ndarray, weights: np.ndarray, q: np.ndarray, k: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The backward pass from the weights to the inputs of the scores: d_q [A, Tq, D] and d_k [A, Tk, D].

    d_weights, weights [A, Tq, Tk]; q [A, Tq, D]; k [A, Tk, D].
    """
    # weights = softmax(scores): subtract from each row of d_weights its mean, weighted by that row's weights
    mean = (weights * d_weights).sum(axis=2, keepdims=True)  # [A, Tq, 1]
    d_scores = weights * (d_weights - mean)  # [A, Tq, Tk]
    # scores = q @ k.T / sqrt(D)
    d_scores *= q.shape[2] ** -0.5
    return d_scores @ k, d_scores.transpose(0, 2, 1) @ q


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
    """Multi-head attention over a ragged batch, with optional dropout, causal mask, and fewer queries than keys.

    query [Nq, H]; key, value [N, H]; H = heads * D, and head a uses features a * D to (a + 1) * D - 1;
    cu_seqlens_q, cu_seqlens_k integers [B + 1]: where each sequence's queries, and its keys, begin and end;
    positions_q integers [Nq]: the position of each query in its sequence (every token has a key, but the last layer
    needs queries only for the tokens that a loss reads); causal: hide keys after a query's own position from it;
    dropout: a minibert.ops.Dropout applied to the weights, with `sequences` [B] and `positions` [Nq], or None.
    Returns context [Nq, H] and the cache that attention_backward takes, whose memory is linear in the token count:
    the weights, [Tq, Tk] per head, are not stored, since one number per query and head, the log of the softmax's
    denominator, is enough to recompute them.
    Sources: Vaswani et al. 2017, section 3.2; Dao et al. 2022, section 3.1.
    """
    context = np.empty_like(query)  # [Nq, H]
    log_sums = np.empty((heads, len(query)), dtype=query.dtype)  # [A, Nq]
    for sequence, (queries, keys) in enumerate(spans(cu_seqlens_q, cu_seqlens_k)):
        q, k, v = (split_heads(x, heads) for x in (query[queries], key[keys], value[keys]))  # [A, Tq or Tk, D]
        weights, log_sums[:, queries] = attention_weights(attention_scores(q, k, positions_q[queries], causal))
        if dropout is not None:
            weights = weights * probabilities_mask(dropout, sequence, queries, weights)
        context[queries] = merge_heads(weights @ v)
    arguments = query, key, value, heads, cu_seqlens_q, cu_seqlens_k, positions_q, causal, dropout
    return context, (*arguments, log_sums)


def attention_backward(d_context: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The backward pass of attention_forward: d_context [Nq, H] -> d_query [Nq, H], d_key [N, H], d_value [N, H]."""
    query, key, value, heads, cu_seqlens_q, cu_seqlens_k, positions_q, causal, dropout, log_sums = cache
    d_query, d_key, d_value = np.empty_like(query), np.empty_like(key), np.empty_like(value)
    for sequence, (queries, keys) in enumerate(spans(cu_seqlens_q, cu_seqlens_k)):
        q, k, v = (split_heads(x, heads) for x in (query[queries], key[keys], value[keys]))  # [A, Tq or Tk, D]
        scores = attention_scores(q, k, positions_q[queries], causal)  # [A, Tq, Tk]
        weights = dropped = np.exp(scores - log_sums[:, queries, None])  # [A, Tq, Tk]
        d_out = split_heads(d_context[queries], heads)  # [A, Tq, D]
        # context = dropped @ v
        d_weights = d_out @ v.transpose(0, 2, 1)  # [A, Tq, Tk]
        if dropout is not None:
            mask = probabilities_mask(dropout, sequence, queries, weights)
            # dropped = weights * mask
            dropped = weights * mask
            d_weights *= mask
        d_q, d_k = attention_weights_backward(d_weights, weights, q, k)
        d_query[queries], d_key[keys] = merge_heads(d_q), merge_heads(d_k)
        d_value[keys] = merge_heads(dropped.transpose(0, 2, 1) @ d_out)
    return d_query, d_key, d_value


def probabilities_mask(dropout: Dropout, sequence: int, queries: slice, weights: np.ndarray) -> np.ndarray:
    """The dropout mask [A, Tq, Tk] of one sequence's weights, with queries as rows and keys as features."""
    heads, rows, keys = weights.shape
    positions = dropout.positions[queries]  # [Tq]
    mask = np.empty_like(weights)
    for head in range(heads):
        one = type(dropout)(
            rate=dropout.rate,
            key=dropout.key,
            site=dropout.site + head,
            sequences=np.broadcast_to(dropout.sequences[sequence], rows),
            positions=positions,
        )
        mask[head] = dropout_mask(one, keys, weights.dtype)
    return mask


def spans(cu_seqlens_q: np.ndarray, cu_seqlens_k: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """For each sequence, the slice of its queries and the slice of its keys."""
    for b in range(len(cu_seqlens_k) - 1):
        yield slice(cu_seqlens_q[b], cu_seqlens_q[b + 1]), slice(cu_seqlens_k[b], cu_seqlens_k[b + 1])


def split_heads(x: np.ndarray, heads: int) -> np.ndarray:
    """Split the features into heads: [T, H] -> [A, T, D], a view."""
    return x.reshape(len(x), heads, x.shape[1] // heads).transpose(1, 0, 2)


def merge_heads(x: np.ndarray) -> np.ndarray:
    """Concatenate the features of all heads: [A, T, D] -> [T, H]."""
    return x.transpose(1, 0, 2).reshape(x.shape[1], x.shape[0] * x.shape[2])
