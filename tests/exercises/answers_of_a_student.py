"""The exercises of one's own BERT as a student would write them: each alone, with NumPy and answers of earlier lessons.

scripts/follow_capstone.py types them into the lessons' cells.
"""

import numpy as np

from minibert.exercises.layer import EPS, gelu, layernorm, layernorm_forward, multi_head_backward
from minibert.ops.reference import gelu_forward
from minibert.ops.reference.normal import normal_density

# ------------------------------------------------------------------------------------------------- lesson 2


def embed(token_ids, position_ids, segment_ids, token_weight, position_weight, segment_weight):
    y = np.zeros((len(token_ids), token_weight.shape[1]), token_weight.dtype)
    for table, ids in ((token_weight, token_ids), (position_weight, position_ids), (segment_weight, segment_ids)):
        y += table[ids]
    return y


def scatter_add(rows, ids, size):
    out = np.zeros((size, rows.shape[1]), rows.dtype)
    for row, number in zip(rows, ids, strict=True):
        out[number] += row
    return out


def embedding_backward(d_y, token_ids, position_ids, segment_ids, sizes):
    all_ids = token_ids, position_ids, segment_ids
    return tuple(scatter_add(d_y, ids, size) for ids, size in zip(all_ids, sizes, strict=True))


# ------------------------------------------------------------------------------------------------- lesson 3


def linear_backward(d_y, cache):
    x, weight = cache
    return np.matmul(d_y, weight), np.einsum("no,ni->oi", d_y, x), np.einsum("no->o", d_y)


def gelu_backward(d_y, cache):
    x, cdf = cache
    slope = cdf + normal_density(x) * x
    return slope * d_y


def layernorm_backward(d_y, cache):
    x_hat, rstd, weight = cache
    H = x_hat.shape[1]
    g = d_y * weight
    sums = g.sum(1)[:, None]
    sums_with_x = (g * x_hat).sum(1)[:, None]
    return rstd / H * (H * g - sums - x_hat * sums_with_x), (d_y * x_hat).sum(0), d_y.sum(0)


# ------------------------------------------------------------------------------------------------- lesson 4


def softmax(scores):
    scores = scores - scores.max(1)[:, None]
    e = np.exp(scores)
    return e / e.sum(1)[:, None]


def attend(query, key, value):
    return softmax(query @ key.T / np.sqrt(query.shape[1])) @ value


def multi_head(query, key, value, heads, cu_q, cu_k):
    out = np.zeros_like(query)
    D = query.shape[1] // heads
    for b in range(len(cu_q) - 1):
        q = query[cu_q[b] : cu_q[b + 1]]
        k, v = key[cu_k[b] : cu_k[b + 1]], value[cu_k[b] : cu_k[b + 1]]
        if len(q) == 0:
            continue
        parts = [attend(q[:, a : a + D], k[:, a : a + D], v[:, a : a + D]) for a in range(0, heads * D, D)]
        out[cu_q[b] : cu_q[b + 1]] = np.hstack(parts)
    return out


def softmax_backward(d_probabilities, probabilities):
    product = d_probabilities * probabilities
    return product - probabilities * product.sum(1)[:, None]


def attend_backward(d_context, query, key, value):
    root = np.sqrt(query.shape[1])
    p = softmax(query @ key.T / root)
    d_value = p.T @ d_context
    d_scores = softmax_backward(d_context @ value.T, p) / root
    return d_scores @ key, d_scores.T @ query, d_value


# ------------------------------------------------------------------------------------------------- lesson 5


def drop(x, bits, rate):
    kept = bits >= rate * 65536
    return x * kept / (1 - rate)


def encoder_layer(x, attention, feed_forward, heads, cu_seqlens):
    wq, bq, wk, bk, wv, bv, wo, bo, g1, h1 = attention
    w1, b1, w2, b2, g2, h2 = feed_forward
    context = multi_head(x @ wq.T + bq, x @ wk.T + bk, x @ wv.T + bv, heads, cu_seqlens, cu_seqlens)
    middle = layernorm(x + context @ wo.T + bo, g1, h1)
    return layernorm(middle + gelu(middle @ w1.T + b1) @ w2.T + b2, g2, h2)


def encoder_layer_backward(d_y, x, attention, feed_forward, heads, cu_seqlens):
    wq, bq, wk, bk, wv, bv, wo, bo, g1, h1 = attention
    w1, b1, w2, b2, g2, h2 = feed_forward
    q, k, v = x @ wq.T + bq, x @ wk.T + bk, x @ wv.T + bv
    context = multi_head(q, k, v, heads, cu_seqlens, cu_seqlens)
    middle, first_cache = layernorm_forward(x + context @ wo.T + bo, g1, h1, EPS)
    activated, gelu_cache = gelu_forward(middle @ w1.T + b1)
    _, second_cache = layernorm_forward(middle + activated @ w2.T + b2, g2, h2, EPS)

    d_sum, d_g2, d_h2 = layernorm_backward(d_y, second_cache)
    d_activated, d_w2, d_b2 = linear_backward(d_sum, (activated, w2))
    d_middle, d_w1, d_b1 = linear_backward(gelu_backward(d_activated, gelu_cache), (middle, w1))
    d_sum, d_g1, d_h1 = layernorm_backward(d_sum + d_middle, first_cache)
    d_context, d_wo, d_bo = linear_backward(d_sum, (context, wo))
    d_q, d_k, d_v = multi_head_backward(d_context, q, k, v, heads, cu_seqlens, cu_seqlens)
    d_x, of_attention = d_sum, []
    for d, w in ((d_q, wq), (d_k, wk), (d_v, wv)):
        d_x_part, d_w, d_b = linear_backward(d, (x, w))
        d_x = d_x + d_x_part
        of_attention += [d_w, d_b]
    return d_x, (*of_attention, d_wo, d_bo, d_g1, d_h1), (d_w1, d_b1, d_w2, d_b2, d_g2, d_h2)


# ------------------------------------------------------------------------------------------ lessons 6 and 7


def cross_entropy_backward(logits, labels, count):
    p = np.exp(logits - logits.max(1)[:, None])
    p = p / p.sum(1)[:, None]
    for m in range(len(labels)):
        p[m, labels[m]] -= 1
    return p / count


def adamw_step(value, gradient, first, second, rate, decay, beta1=0.9, beta2=0.999, eps=1e-6):
    m = beta1 * first + (1 - beta1) * gradient
    v = beta2 * second + (1 - beta2) * gradient**2
    update = m / (v**0.5 + eps) + decay * value
    return value - rate * update, m, v


def clip(gradients, max_norm):
    vector = np.hstack([g.reshape(-1) for g in gradients])
    norm = np.linalg.norm(vector)
    return vector if norm <= max_norm else vector * (max_norm / norm)


def training_step(weights, first, second, parts, loss_and_gradients, rate, max_norm):
    loss = 0
    total = [0 * w for w in weights]
    for part in parts:
        of_part, gradients = loss_and_gradients(weights, part)
        loss += of_part
        for i, g in enumerate(gradients):
            total[i] = total[i] + g
    vector, results, at = clip(total, max_norm), [], 0
    for w, m, v in zip(weights, first, second, strict=True):
        g = vector[at : at + w.size].reshape(w.shape)
        at += w.size
        results.append(adamw_step(w, g, m, v, rate, 0.01 if w.ndim == 2 else 0.0))
    return loss, [r[0] for r in results], [r[1] for r in results], [r[2] for r in results]


ANSWERS = (
    embed, scatter_add, embedding_backward, linear_backward, gelu_backward, layernorm_backward, softmax, attend,
    multi_head, softmax_backward, attend_backward, drop, encoder_layer, encoder_layer_backward,
    cross_entropy_backward, adamw_step, clip, training_step,
)  # fmt: skip
