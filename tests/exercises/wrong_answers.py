"""Typical wrong answers, written otherwise than the package writes them: name -> [(answer, words of its hint), ...].

The package knows each mistake as a function of its own; here the same mistakes are made by other people.
"""

import math
from collections import Counter, defaultdict

import numpy as np

from tests.exercises import later_answers

# ------------------------------------------------------------------------------------------- lesson 1


def pairs_a(words):
    seen = defaultdict(int)
    for word in words.keys():
        for i in range(len(word) - 1):
            seen[word[i], word[i + 1]] = seen[word[i], word[i + 1]] + 1
    return dict(seen)


def pairs_b(words):
    table = {}
    for word, n in words.items():
        here = []
        for i in range(1, len(word)):
            if (word[i - 1], word[i]) not in here:
                here.append((word[i - 1], word[i]))
        for pair in here:
            table[pair] = table.get(pair, 0) + n
    return table


def pairs_c(words):
    import itertools

    c = Counter()
    for word, n in words.items():
        c.update({})
        for pair in itertools.combinations(word, 2):
            c[pair] += n
    return {**c}


def merge_a(pieces, pair):
    pieces = list(pieces)
    try:
        at = [*zip(pieces, pieces[1:], strict=False)].index(pair)
    except ValueError:
        return tuple(pieces)
    pieces[at : at + 2] = [pair[0] + pair[1].replace("##", "", 1)]
    return tuple(pieces)


def merge_b(pieces, pair):
    result = []
    queue = list(pieces)
    while queue:
        first = queue.pop(0)
        if queue and (first, queue[0]) == pair:
            result.append(first + queue.pop(0))
        else:
            result.append(first)
    return tuple(result)


def merge_c(pieces, pair):
    joined = pair[0] + (pair[1][2:] if pair[1].startswith("##") else pair[1])
    nexts = list(pieces[1:]) + [None]
    return tuple(joined if (p, n) == pair else p for p, n in zip(pieces, nexts, strict=True))


def likely_a(pair_counts, piece_counts):
    return sorted(pair_counts.items(), key=lambda item: -item[1])[0][0]


def likely_b(pair_counts, piece_counts):
    best, score = None, -1
    for (a, b), n in pair_counts.items():
        if n / piece_counts[a] > score:
            best, score = (a, b), n / piece_counts[a]
    return best


def likely_c(pair_counts, piece_counts):
    scores = {
        p: math.log(n) - math.log(piece_counts[p[0]]) - math.log(piece_counts[p[1]]) for p, n in pair_counts.items()
    }
    return sorted(scores, key=scores.get)[0]


def likely_d(pair_counts, piece_counts):
    shares = [(n / (piece_counts[a] + piece_counts[b]), (a, b)) for (a, b), n in pair_counts.items()]
    return sorted(shares)[-1][1]


def longest_a(word, vocabulary):
    out, rest, prefix = [], word, ""
    while rest:
        for n in range(1, len(rest) + 1):
            if prefix + rest[:n] in vocabulary:
                out.append(prefix + rest[:n])
                rest, prefix = rest[n:], "##"
                break
        else:
            return ["[UNK]"]
    return out


def longest_b(word, vocabulary):
    out = []
    while word:
        n = len(word)
        while n and word[:n] not in vocabulary:
            n -= 1
        if n == 0:
            return ["[UNK]"]
        out.append(word[:n])
        word = word[n:]
    return out


def longest_c(word, vocabulary):
    out = []
    while word:
        prefix = "##" if out else ""
        n = len(word)
        while n and prefix + word[:n] not in vocabulary:
            n -= 1
        if n == 0:
            out.append("[UNK]")
            break
        out.append(prefix + word[:n])
        word = word[n:]
    return out


# ------------------------------------------------------------------------------------------- lesson 2


def positions_a(cu_seqlens):
    return np.array(list(range(int(cu_seqlens[-1]))))


def positions_b(cu_seqlens):
    out = []
    for a, b in zip(cu_seqlens[:-1], cu_seqlens[1:], strict=True):
        out += list(range(1, b - a + 1))
    return np.array(out)


def positions_c(cu_seqlens):
    return np.concatenate([np.arange(b - a)[::-1] for a, b in zip(cu_seqlens, cu_seqlens[1:], strict=False)])


def embed_a(t, p, s, tw, pw, sw):
    return np.stack([tw[i] for i in t])


def embed_b(t, p, s, tw, pw, sw):
    return np.take(tw, t, axis=0) + np.take(pw, p, axis=0)


def embed_c(t, p, s, tw, pw, sw):
    return np.mean([tw[t], pw[p], sw[s]], axis=0)


def scatter_a(rows, ids, size):
    out = np.zeros((size, rows.shape[1]))
    for i, k in enumerate(ids):
        out[k] = rows[i]
    return out


def scatter_b(rows, ids, size):
    out = np.zeros((size, rows.shape[1]))
    for k in range(size):
        if (ids == k).any():
            out[k] = rows[ids == k].mean(axis=0)
    return out


def scatter_c(rows, ids, size):
    return np.array([rows[k % len(rows)] for k in ids])


def tables_last(d_y, tokens, positions, segments, sizes):
    found = []
    for ids, size in zip((tokens, positions, segments), sizes, strict=True):
        table = np.zeros((size, d_y.shape[1]))
        for i in range(len(ids)):
            table[ids[i]] = d_y[i]
        found.append(table)
    return found[0], found[1], found[2]


def tables_mean(d_y, tokens, positions, segments, sizes):
    return tuple(scatter_b(d_y, ids, size) for ids, size in zip((tokens, positions, segments), sizes, strict=True))


def one_hot_sum(d_y, ids, size):
    return (ids[None, :] == np.arange(size)[:, None]).astype(float) @ d_y


def tables_third(d_y, tokens, positions, segments, sizes):
    return tuple(one_hot_sum(d_y, i, n) / 3 for i, n in zip((tokens, positions, segments), sizes, strict=True))


def tables_tokens(d_y, tokens, positions, segments, sizes):
    return tuple(one_hot_sum(d_y, tokens, size) for size in sizes)


# ------------------------------------------------------------------------------------------- lesson 3


def linear_a(d_y, cache):
    x, w = cache
    return d_y.dot(w), x.T.dot(d_y), np.ones(len(d_y)) @ d_y


def linear_b(d_y, cache):
    x, w = cache
    return np.einsum("no,oi->ni", d_y, w), np.einsum("no,ni->oi", d_y, x), d_y.mean(0)


def linear_c(d_y, cache):
    x, w = cache
    d_w = sum(np.outer(d, row) for d, row in zip(d_y, x, strict=True)) / x.shape[0]
    return d_y @ w, d_w, d_y.sum(0)


def gelu_a(d_y, cache):
    _, cdf = cache
    return np.multiply(cdf, d_y)


def gelu_b(d_y, cache):
    x, cdf = cache
    return cdf * d_y + x * d_y * np.exp(-0.5 * np.square(x))


def gelu_c(d_y, cache):
    x, cdf = cache
    return d_y * (cdf + np.exp(-(x * x) / 2) / np.sqrt(2 * np.pi))


def norm_parts(d_y, cache):
    x_hat, r, w = cache
    g = w[None, :] * d_y
    return x_hat, r, g, np.einsum("nh,nh->h", d_y, x_hat), d_y.sum(0)


def norm_a(d_y, cache):
    x_hat, r, g, dw, db = norm_parts(d_y, cache)
    dots = np.einsum("nh,nh->n", g, x_hat) / g.shape[1]
    return r * g - r * x_hat * dots[:, None], dw, db


def norm_b(d_y, cache):
    x_hat, r, g, dw, db = norm_parts(d_y, cache)
    return (g - np.average(g, axis=1)[:, None]) * r, dw, db


def norm_c(d_y, cache):
    x_hat, r, g, dw, db = norm_parts(d_y, cache)
    h = g.shape[1]
    return g - g.sum(1, keepdims=True) / h - x_hat * (g * x_hat).sum(1, keepdims=True) / h, dw, db


def norm_d(d_y, cache):
    x_hat, r, w = cache
    h = d_y.shape[1]
    d_x = r / h * (h * d_y - d_y.sum(1, keepdims=True) - x_hat * (d_y * x_hat).sum(1, keepdims=True))
    return d_x, np.einsum("nh,nh->h", d_y, x_hat), d_y.sum(0)


def slope_a(f, x, step):
    here, out = f(x), []
    for i in range(x.size):
        y = x.copy()
        y.flat[i] += step
        out.append((f(y) - here) / step)
    return np.reshape(out, x.shape)


def slope_b(f, x, step):
    out = np.zeros(x.size)
    for i in range(x.size):
        up, down = x.copy(), x.copy()
        up.flat[i], down.flat[i] = up.flat[i] + step, down.flat[i] - step
        out[i] = (f(up) - f(down)) / step
    return out.reshape(x.shape)


def slope_c(f, x, step):
    out = np.zeros(x.size)
    for i in range(x.size):
        up, down = x.copy(), x.copy()
        up.flat[i], down.flat[i] = up.flat[i] + step, down.flat[i] - step
        out[i] = (f(down) - f(up)) / (step + step)
    return out.reshape(x.shape)


# ------------------------------------------------------------------------------------------- lesson 4


def stable(scores, axis=-1):
    e = np.exp(scores - np.max(scores, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def softmax_a(scores):
    return np.array([np.exp(row) / np.sum(np.exp(row)) for row in scores])


def softmax_b(scores):
    return np.array([stable(column) for column in scores.T]).T


def softmax_c(scores):
    flat = stable(scores.reshape(-1))
    return flat.reshape(scores.shape)


def back_a(d, p):
    return np.multiply(d, p)


def back_b(d, p):
    return d * (p - np.square(p))


def back_c(d, p):
    return p * d - p * np.average(d, axis=1)[:, None]


def attend_a(q, k, v):
    return stable(np.einsum("qd,kd->qk", q, k)) @ v


def attend_b(q, k, v):
    return stable((q / len(q[0])) @ k.T) @ v


def attend_c(q, k, v):
    return (stable((k @ q.T) / len(q[0]) ** 0.5)).T @ v


def heads_of(q, k, v, heads, cu_q, cu_k, at):
    """at: (heads, width, head) -> the features of a head."""
    out = np.zeros(q.shape)
    for b in range(len(cu_q) - 1):
        rows, others = np.arange(cu_q[b], cu_q[b + 1]), np.arange(cu_k[b], cu_k[b + 1])
        for a in range(heads):
            columns = at(heads, q.shape[1] // heads, a)
            query, key, value = q[np.ix_(rows, columns)], k[np.ix_(others, columns)], v[np.ix_(others, columns)]
            if len(others):
                out[np.ix_(rows, columns)] = stable(query @ key.T / len(columns) ** 0.5) @ value
    return out


def side_by_side(heads, width, a):
    return np.arange(width) + a * width


def heads_all_sequences(q, k, v, heads, cu_q, cu_k):
    return heads_of(q, k, v, heads, [0, len(q)], [0, len(k)], side_by_side)


def heads_one(q, k, v, heads, cu_q, cu_k):
    return heads_of(q, k, v, 1, cu_q, cu_k, side_by_side)


def heads_strided(q, k, v, heads, cu_q, cu_k):
    return heads_of(q, k, v, heads, cu_q, cu_k, lambda heads, width, a: np.arange(width) * heads + a)


def heads_cut_alike(q, k, v, heads, cu_q, cu_k):
    return heads_of(q, k, v, heads, cu_q, cu_q, side_by_side)


def heads_wide_scale(q, k, v, heads, cu_q, cu_k):
    return heads_of(q * heads**-0.5, k, v, heads, cu_q, cu_k, side_by_side)


def normed(x, g, h):
    x = x - x.mean(axis=1)[:, None]
    return g * x / np.sqrt((x * x).mean(axis=1)[:, None] + 1e-12) + h


def gelu_of(u):
    return u * np.vectorize(lambda z: 0.5 * math.erfc(-z / math.sqrt(2)))(u)


def attended(x, attention, heads, cu):
    wq, bq, wk, bk, wv, bv = attention[:6]
    return heads_of(x @ wq.T + bq, x @ wk.T + bk, x @ wv.T + bv, heads, cu, cu, side_by_side)


def layer_of(x, attention, feed_forward, heads, cu, *, mix, residual, act=gelu_of, norm=normed):
    *_, wo, bo, g1, h1 = attention
    w1, b1, w2, b2, g2, h2 = feed_forward
    a = norm(mix(x, attended(x, attention, heads, cu), wo, bo), g1, h1)
    return norm(residual(x, a) + act(a @ w1.T + b1) @ w2.T + b2, g2, h2)


def both(x, c, wo, bo):
    return x + c @ wo.T + bo


def layer_no_first(*given):
    return layer_of(*given, mix=lambda x, c, wo, bo: c @ wo.T + bo, residual=lambda x, a: a)


def layer_no_second(*given):
    return layer_of(*given, mix=both, residual=lambda x, a: 0)


def layer_wrong_second(*given):
    return layer_of(*given, mix=both, residual=lambda x, a: x)


def layer_linear(*given):
    return layer_of(*given, mix=both, residual=lambda x, a: a, act=np.positive)


def layer_no_output(*given):
    return layer_of(*given, mix=lambda x, c, wo, bo: x + c, residual=lambda x, a: a)


def layer_norm_first(x, attention, feed_forward, heads, cu):
    *_, wo, bo, g1, h1 = attention
    w1, b1, w2, b2, g2, h2 = feed_forward
    a = x + attended(normed(x, g1, h1), attention, heads, cu) @ wo.T + bo
    return a + gelu_of(normed(a, g2, h2) @ w1.T + b1) @ w2.T + b2


def norm_back(d, x, g):
    centred = x - x.mean(axis=1, keepdims=True)
    r = 1 / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-12)
    z = centred * r
    e = d * g
    return r * (e - e.mean(axis=1, keepdims=True) - z * (e * z).mean(axis=1, keepdims=True)), (d * z).sum(0), d.sum(0)


def heads_back(d, q, k, v, heads, cu):
    d_q, d_k, d_v = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for b in range(len(cu) - 1):
        rows = np.arange(cu[b], cu[b + 1])
        for a in range(heads):
            at = np.ix_(rows, side_by_side(heads, q.shape[1] // heads, a))
            scale = (q.shape[1] // heads) ** -0.5
            p = stable(q[at] @ k[at].T * scale)
            d_v[at] = p.T @ d[at]
            d_p = d[at] @ v[at].T
            d_s = p * (d_p - (p * d_p).sum(1, keepdims=True))
            d_q[at], d_k[at] = scale * d_s @ k[at], scale * d_s.T @ q[at]
    return d_q, d_k, d_v


def layer_back(d_y, x, attention, feed_forward, heads, cu, *, first=1, second=1, paths="qkv", slope=True):
    wq, bq, wk, bk, wv, bv, wo, bo, g1, h1 = attention
    w1, b1, w2, b2, g2, h2 = feed_forward
    q, k, v = x @ wq.T + bq, x @ wk.T + bk, x @ wv.T + bv
    c = heads_of(q, k, v, heads, cu, cu, side_by_side)
    s1 = x + c @ wo.T + bo
    a = normed(s1, g1, h1)
    u = a @ w1.T + b1
    i = gelu_of(u)
    d_s2, d_g2, d_h2 = norm_back(d_y, a + i @ w2.T + b2, g2)
    d_u = d_s2 @ w2
    if slope:
        cdf = np.vectorize(lambda z: 0.5 * math.erfc(-z / math.sqrt(2)))(u)
        d_u = d_u * (cdf + u * np.exp(-u * u / 2) / math.sqrt(2 * math.pi))
    d_s1, d_g1, d_h1 = norm_back(d_u @ w1 + second * d_s2, s1, g1)
    parts = dict(zip("qkv", heads_back(d_s1 @ wo, q, k, v, heads, cu), strict=True))
    d_x = first * d_s1
    for name, w in (("q", wq), ("k", wk), ("v", wv)):
        d_x = d_x + parts[name] @ w * (name in paths)
    of_q = [gradient for name in "qkv" for gradient in (parts[name].T @ x, parts[name].sum(0))]
    return (
        d_x,
        (*of_q, d_s1.T @ c, d_s1.sum(0), d_g1, d_h1),
        (d_u.T @ a, d_u.sum(0), d_s2.T @ i, d_s2.sum(0), d_g2, d_h2),
    )


def back_no_first(*given):
    return layer_back(*given, first=0)


def back_no_second(*given):
    return layer_back(*given, second=0)


def back_only_value(*given):
    return layer_back(*given, paths="v")


def back_only_query(*given):
    return layer_back(*given, paths="q")


def back_no_slope(*given):
    return layer_back(*given, slope=False)


def stepped(weights, first, second, gradients, rate, decays):
    new = []
    for w, g, m, v in zip(weights, gradients, first, second, strict=True):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        new.append((w - rate * (m / (v**0.5 + 1e-6) + (0.01 * w if decays(w) else 0)), m, v))
    return ([one[k] for one in new] for k in range(3))


def is_matrix(w):
    return len(w.shape) == 2


def scaled_to(gradients, most):
    norm = sum(float((g * g).sum()) for g in gradients) ** 0.5
    return [g * most / norm if norm > most else g for g in gradients]


def added_up(found):
    return [np.sum(ones, axis=0) for ones in zip(*(gradients for _, gradients in found), strict=True)]


def step_last(weights, first, second, parts, both_of, rate, most):
    found = [both_of(weights, part) for part in parts]
    return sum(x for x, _ in found), *stepped(weights, first, second, scaled_to(found[-1][1], most), rate, is_matrix)


def step_mean(weights, first, second, parts, both_of, rate, most):
    found = [both_of(weights, part) for part in parts]
    total = scaled_to([g / len(parts) for g in added_up(found)], most)
    return sum(x for x, _ in found) / len(parts), *stepped(weights, first, second, total, rate, is_matrix)


def step_each(weights, first, second, parts, both_of, rate, most):
    found = [both_of(weights, part) for part in parts]
    total = [scaled_to([g], most)[0] for g in added_up(found)]
    return sum(x for x, _ in found), *stepped(weights, first, second, total, rate, is_matrix)


def step_early(weights, first, second, parts, both_of, rate, most):
    found = [(x, scaled_to(g, most)) for x, g in (both_of(weights, part) for part in parts)]
    return sum(x for x, _ in found), *stepped(weights, first, second, added_up(found), rate, is_matrix)


def step_all_decay(weights, first, second, parts, both_of, rate, most):
    found = [both_of(weights, part) for part in parts]
    total = scaled_to(added_up(found), most)
    return sum(x for x, _ in found), *stepped(weights, first, second, total, rate, lambda w: True)


def step_no_decay(weights, first, second, parts, both_of, rate, most):
    found = [both_of(weights, part) for part in parts]
    total = scaled_to(added_up(found), most)
    return sum(x for x, _ in found), *stepped(weights, first, second, total, rate, lambda w: False)


def step_forgets(weights, first, second, parts, both_of, rate, most):
    found = [both_of(weights, part) for part in parts]
    zero = [0 * w for w in weights]
    return sum(x for x, _ in found), *stepped(weights, zero, zero, scaled_to(added_up(found), most), rate, is_matrix)


def head_back(d, q, k, v, scale_q, softmax_gradient, value):
    s = 1 / math.sqrt(q.shape[-1])
    p = stable(s * q @ k.T)
    d_s = softmax_gradient(d @ v.T, p)
    return scale_q * (d_s @ k), scale_q * (q.T @ d_s).T, value(p, d)


def right_gradient(d, p):
    return p * d - p * np.einsum("qk,qk->q", p, d)[:, None]


def head_a(d, q, k, v):
    return head_back(d, q, k, v, 1.0, right_gradient, lambda p, d: p.T @ d)


def head_b(d, q, k, v):
    return head_back(d, q, k, v, q.shape[1] ** -0.5, lambda d, p: p * d, lambda p, d: (d.T @ p).T)


def head_c(d, q, k, v):
    return head_back(d, q, k, v, q.shape[1] ** -0.5, lambda d, p: d + 0 * p, lambda p, d: p.T @ d)


# ------------------------------------------------------------------------------------------- lesson 5


def residual_a(d, x, w):
    inner = d / np.cosh(x @ w.T) ** 2
    return inner @ w, inner.T @ x


def residual_b(d, x, w):
    return d + d @ w, d.T @ x


def residual_c(d, x, w):
    inner = d / np.cosh(x @ w.T) ** 2
    return np.add(d, inner @ w) + d, inner.T @ x


def drop_a(x, bits, rate):
    out = x.copy()
    out[bits < rate * 65536] = 0
    return out


def drop_b(x, bits, rate):
    keep = (bits < rate * 65536).astype(float)
    return x * keep / (1 - rate)


def drop_c(x, bits, rate):
    return x * (bits >= rate * 65536) * (1 - rate)


def parameters_a(h, f):
    return 2 * (2 * h * h + h * f) + 2 * (h + h)


def parameters_b(h, f):
    return 4 * h * (h + 1) + f * (h + 1) + h * (f + 1)


def parameters_c(h, f):
    return 3 * h * (h + 1) + f * (h + 1) + h * (f + 1) + 4 * h


def flops_a(lengths, h, f):
    return sum(t * (4 * h**2 + 2 * h * f) + 2 * t**2 * h for t in lengths)


def flops_b(lengths, h, f):
    return sum(8 * t * h**2 + 4 * t * h * f + 2 * t**2 * h for t in lengths)


def flops_c(lengths, h, f):
    return sum(8 * t * h**2 + 4 * t * h * f for t in lengths)


# ------------------------------------------------------------------------------------------- lesson 6


def hide_a(ids, chosen, dice, random_ids, mask_id):
    out = ids.copy()
    out[chosen] = mask_id
    return out


def hide_b(ids, chosen, dice, random_ids, mask_id):
    out = ids.copy()
    for i in range(len(ids)):
        if chosen[i]:
            out[i] = mask_id if dice[i] < 0.8 else random_ids[i]
    return out


def hide_c(ids, chosen, dice, random_ids, mask_id):
    out = ids.copy()
    for i in range(len(ids)):
        if dice[i] < 0.8:
            out[i] = mask_id
        elif dice[i] < 0.9:
            out[i] = random_ids[i]
    return out


def entropy_a(x, y, count):
    return stable(x) / count


def entropy_b(x, y, count):
    return stable(x) - np.eye(x.shape[1])[y]


def entropy_c(x, y, count):
    return (stable(x) - np.eye(x.shape[1])[y]) / x.shape[0]


def tied_a(d, h, e, ids):
    return np.einsum("mv,mh->vh", d, h)


def tied_b(d, h, e, ids):
    out = np.zeros((d.shape[1], h.shape[1]))
    for i, k in enumerate(ids):
        out[k] += e[i]
    return out


def tied_c(d, h, e, ids):
    out = np.einsum("mv,mh->vh", d, h)
    last = {int(k): i for i, k in enumerate(ids)}
    for k, i in last.items():
        out[k] = out[k] + e[i]
    return out


def loss_a(losses, labels):
    return float((losses * (labels >= 0)).sum() / losses.size)


def loss_b(losses, labels):
    keep = ~((labels == -100) | (labels == 0))
    return float(losses[keep].sum() / keep.sum())


def loss_c(losses, labels):
    means = []
    for row, of in zip(losses, labels, strict=True):
        means.append(float(np.average(row, weights=of != -100)))
    return sum(means) / len(means)


# ------------------------------------------------------------------------------------------- lesson 7


def adam_a(w, g, m, v, rate, decay, beta1=0.9, beta2=0.999, eps=1e-6):
    w = w - rate * m / (v**0.5 + eps) - rate * decay * w
    return w, m + (1 - beta1) * (g - m), v + (1 - beta2) * (g * g - v)


def adam_b(w, g, m, v, rate, decay, beta1=0.9, beta2=0.999, eps=1e-6):
    g = decay * w + g
    m, v = m + (1 - beta1) * (g - m), v + (1 - beta2) * (np.square(g) - v)
    return w - rate * m / (v**0.5 + eps), m, v


def adam_c(w, g, m, v, rate, decay, beta1=0.9, beta2=0.999, eps=1e-6):
    m, v = m + (1 - beta1) * (g - m), v + (1 - beta2) * (np.square(g) - v)
    return (1 - rate * decay) * w - rate * m * (v + eps) ** -0.5, m, v


def rate_a(step, steps, peak, rising):
    return min(step / rising, (steps - step) / (steps - rising)) * peak if step else 0.0


def rate_b(step, steps, peak, rising):
    return peak if step >= rising else peak * (step + 1) / rising


def rate_c(step, steps, peak, rising):
    return peak - peak * step / steps


def clip_a(gradients, limit):
    out = []
    for g in gradients:
        n = np.linalg.norm(g)
        out.append((g / n * limit if n > limit else g).ravel())
    return np.hstack(out)


def clip_b(gradients, limit):
    return np.hstack([np.minimum(np.maximum(g, -limit), limit).ravel() for g in gradients])


def clip_c(gradients, limit):
    flat = np.hstack([g.ravel() for g in gradients])
    return limit * flat / np.linalg.norm(flat)


def interval_a(k, n):
    return ((k / n) * (n - k) / n / n) ** 0.5


def interval_b(k, n):
    return 1.96 * (k / n) * ((n - k) / n) / n


def interval_c(k, n):
    p = k / n
    return 1.96 * math.sqrt(p - p * p)


# ------------------------------------------------------------------------------------------- lesson 8


def rows_a(masked, cu):
    return np.array(sorted(masked.tolist()), int)


def rows_b(masked, cu):
    return np.array(sorted([*masked.tolist(), *cu[:-1].tolist()]), int)


def rows_c(masked, cu):
    return np.array(sorted({*masked.tolist(), *cu.tolist()}), int)


def fused_a(x, r, w, b, eps):
    s = x + r
    var = np.average(s**2) - np.average(s) ** 2
    return w * (s - np.average(s)) / np.sqrt(max(var, 0) + eps) + b


def fused_b(x, r, w, b, eps):
    return w * (x - x.mean()) / np.sqrt(x.var() + eps) + b


def fused_c(x, r, w, b, eps):
    s = r + x
    return (s - s.mean()) / np.sqrt(s.var(ddof=1) + eps) * w + b


def pieces_a(length, parts):
    return [(k * int(length / parts), (k + 1) * int(length / parts)) for k in range(parts)]


def pieces_b(length, parts):
    out = [[k * (length // parts), (k + 1) * (length // parts)] for k in range(parts)]
    out[-1][1] = length
    return [tuple(p) for p in out]


def pieces_c(length, parts):
    cuts = [length * k // parts for k in range(parts + 1)]
    return [(a, min(b + 1, length)) for a, b in zip(cuts, cuts[1:], strict=False)]


# ------------------------------------------------------------------------------------------- lesson 10


def online_a(q, k, v, tile):
    m, z, c = -1e300, 0, 0
    for i in range(0, len(k), tile):
        s = k[i : i + tile].dot(q)
        new = max(m, max(s))
        z = z * math.exp(max(m - new, -700)) + np.exp(s - new).sum()
        c = c + np.exp(s - new).dot(v[i : i + tile])
        m = new
    return c / z


def online_b(q, k, v, tile):
    m, z, c = -1e300, 0, 0
    for i in range(0, len(k), tile):
        s = k[i : i + tile].dot(q)
        new = max(m, max(s))
        z = z + np.exp(s - new).sum()
        c = c * math.exp(max(m - new, -700)) + np.exp(s - new).dot(v[i : i + tile])
        m = new
    return c / z


def online_c(q, k, v, tile):
    full = max(len(k) // tile, 1) * tile
    return stable(k[:full] @ q) @ v[:full]


def tile_a(q, k, v, d, sums, delta):
    return stable(q @ k.T) * (d @ v.T - delta[:, None])


def tile_b(q, k, v, d, sums, delta):
    p = np.exp(q @ k.T - sums.reshape(-1, 1))
    return right_gradient(d @ v.T, p)


def tile_c(q, k, v, d, sums, delta):
    return np.exp(q @ k.T - sums.reshape(-1, 1)) * np.einsum("qd,kd->qk", d, v)


def scale_a(scale, good, norm, interval):
    if math.isinf(norm) or math.isnan(norm):
        return scale, 0
    good += 1
    return (2 * scale, 0) if good >= interval else (scale, good)


def scale_b(scale, good, norm, interval):
    if math.isinf(norm) or math.isnan(norm):
        return 0.5 * scale, good
    good += 1
    return (2 * scale, 0) if good >= interval else (scale, good)


def scale_c(scale, good, norm, interval):
    if norm == float("inf"):
        return 0.5 * scale, 0
    good += 1
    return (2 * scale, 0) if good >= interval else (scale, good)


# ------------------------------------------------------------------------------------------- lesson 11


def labels_a(pieces, labels):
    return np.array([-100, *np.repeat(labels, pieces), -100])


def labels_b(pieces, labels):
    out = np.full(sum(pieces) + 2, -100)
    out[np.cumsum(pieces)] = labels
    return out


def labels_c(pieces, labels):
    out = np.full(sum(pieces), -100)
    out[np.cumsum([0, *pieces[:-1]])] = labels
    return out


def span_a(start, end, longest):
    return int(start.argmax()), int(end.argmax())


def span_b(start, end, longest):
    i = int(start.argmax())
    window = end[i : i + longest]
    return i, i + int(window.argmax())


def span_c(start, end, longest):
    sums = np.where(np.triu(np.ones((len(start), len(end)))) > 0, start[:, None] + end[None, :], -np.inf)
    return tuple(int(i) for i in np.unravel_index(sums.argmax(), sums.shape))


def entities_a(tags):
    out, i = set(), 0
    while i < len(tags):
        if tags[i] == "O":
            i += 1
            continue
        j = i
        while j < len(tags) and tags[j] != "O" and tags[j][2:] == tags[i][2:]:
            j += 1
        out.add((tags[i][2:], i, j))
        i = j
    return out


def entities_b(tags):
    out, i = set(), 0
    while i < len(tags):
        if tags[i] == "O":
            i += 1
            continue
        j = i + 1
        while j < len(tags) and tags[j] == "I-" + tags[i][2:]:
            j += 1
        out.add((tags[i][2:], i, j - 1))
        i = j
    return out


def entities_c(tags):
    out, i = set(), 0
    while i < len(tags):
        j = i + 1
        if tags[i][0] == "B":
            while j < len(tags) and tags[j] == "I-" + tags[i][2:]:
                j += 1
            out.add((tags[i][2:], i, j))
        i = j
    return out


def matthews_a(truth, said):
    return float(np.mean(np.array(truth) == np.array(said)))


def table(truth, said):
    t, s = np.array(truth), np.array(said)
    return [float(((t == a) & (s == b)).sum()) for a, b in ((1, 1), (0, 0), (0, 1), (1, 0))]


def matthews_b(truth, said):
    tp, tn, fp, fn = table(truth, said)
    below = (tp + fn) * (tn + fp) * (tp + fp) * (tn + fn)
    return 0.0 if below == 0 else (tn * tp - fn * fp) / below


def matthews_c(truth, said):
    tp, tn, fp, fn = table(truth, said)
    if tp == 0:
        return 0.0
    precision, recall = tp / (tp + fp), tp / (tp + fn)
    return 2 / (1 / precision + 1 / recall)


# ------------------------------------------------------------------------------------------- lesson 12


def nearest_a(query, vectors, count):
    order = sorted(range(len(vectors)), key=lambda i: -float(vectors[i] @ query))
    return np.array(order[:count])


def nearest_b(query, vectors, count):
    order = sorted(range(len(vectors)), key=lambda i: float(((vectors[i] - query) ** 2).sum()))
    return np.array(order[:count])


def nearest_c(query, vectors, count):
    angle = [math.acos(max(-1, min(1, v @ query / math.sqrt((v @ v) * (query @ query))))) for v in vectors]
    return np.argsort(angle)[::-1][:count]


def unit(x):
    return x / np.sqrt((x * x).sum(-1, keepdims=True))


def bias_a(word, these, those):
    return float(unit(word) @ unit(these.sum(0)) - unit(word) @ unit(those.sum(0)))


def bias_b(word, these, those):
    return float(np.mean([word @ x for x in these]) - np.mean([word @ x for x in those]))


def bias_c(word, these, those):
    return float((unit(these) @ unit(word)).sum() - (unit(those) @ unit(word)).sum())


# ------------------------------------------------------------------------------------------- kernels

SCALE = """
__global__ void mine(float* data, int count, float f) {
    const int me = threadIdx.x + blockDim.x * blockIdx.x;
    GUARD
    data[me] = BODY;
}
"""
GUARD = "if (me >= count) return;"


def scale_kernel(guard=GUARD, body="data[me] * f", me=None):
    source = SCALE.replace("GUARD", guard).replace("BODY", body)
    return source if me is None else source.replace("threadIdx.x + blockDim.x * blockIdx.x", me)


ROWS = """
__global__ void mine(const float* x, float* out, int w) {
    __shared__ float part[64];
    int t = threadIdx.x;
    const float* row = x + ROW;
    float s = 0;
    LOOP
    PUT
    BARRIER
    for (unsigned n = blockDim.x >> 1; n; n >>= 1) {
        if (t < n) part[t] = part[t] + part[t + n];
        INNER
    }
    if (!t) out[blockIdx.x] = part[0];
}
"""


LOOP = "while (t < w) { s += row[t]; t += blockDim.x; } t = threadIdx.x;"


def rows_kernel(row="blockIdx.x * w", loop=LOOP, put="part[t] = s;", barrier="__syncthreads();", inner=None):
    inner = "__syncthreads();" if inner is None else inner
    pairs = ("ROW", row), ("LOOP", loop), ("PUT", put), ("BARRIER", barrier), ("INNER", inner)
    source = ROWS
    for word, text in pairs:
        source = source.replace(word, text)
    return source


EACH_ADDS = """
__global__ void mine(const float* x, float* sums, int w) {
    float s = 0;
    for (int i = threadIdx.x; i < w; i += blockDim.x) s += x[blockIdx.x * w + i];
    sums[blockIdx.x] += s;
}
"""

NORM = """
__global__ void mine(const float* in, float* out, int w, float eps) {
    __shared__ float a[32];
    int t = threadIdx.x, from = blockIdx.x * w;
    float s = 0;
    for (int i = t; i < END; i += 32) s += in[from + i];
    a[t] = s;
    __syncthreads();
    s = 0;
    for (int i = 0; i < 32; i++) s += a[i];
    float mu = s / w;
    BARRIER
    s = 0;
    for (int i = t; i < END; i += 32) { float d = in[from + i] - MU; s += d * d; }
    a[t] = s;
    __syncthreads();
    s = 0;
    for (int i = 0; i < 32; i++) s += a[i];
    for (int i = t; i < END; i += 32) out[from + i] = (in[from + i] - mu) / sqrtf(s / w EPS);
}
"""


def norm_kernel(end="w", barrier="__syncthreads();", mu="mu", eps="+ eps"):
    return NORM.replace("END", end).replace("BARRIER", barrier).replace("MU", mu).replace("EPS", eps)


FLASH = """
__global__ void mine(const float* Q, const float* K, const float* V, float* O, int T) {
    __shared__ float ks[32][4], vs[32][4];
    int t = threadIdx.x, me = blockIdx.x * 32 + t;
    float q[4] = {}, o[4] = {}, m = -1e30f, z = 0;
    if (me < T) for (int d = 0; d < 4; d++) q[d] = Q[4 * me + d];
    for (int base = 0; base < T; base += 32) {
        FIRST
        for (int d = 0; d < 4; d++) {
            bool there = THERE;
            ks[t][d] = there ? K[4 * (base + t) + d] : 0.0f;
            vs[t][d] = there ? V[4 * (base + t) + d] : 0.0f;
        }
        __syncthreads();
        int n = COUNT;
        for (int j = 0; j < n; j++) {
            float s = q[0] * ks[j][0] + q[1] * ks[j][1] + q[2] * ks[j][2] + q[3] * ks[j][3];
            float h = s > m ? s : m;
            float c = expf(m - h), e = expf(s - h);
            z = e + z * c;
            for (int d = 0; d < 4; d++) o[d] = e * vs[j][d] + o[d] SHRINK;
            m = h;
        }
    }
    if (me < T) for (int d = 0; d < 4; d++) O[4 * me + d] = o[d] / z;
}
"""


def flash_source(first="__syncthreads();", there="base + t < T", count="T - base < 32 ? T - base : 32", shrink="* c"):
    return FLASH.replace("FIRST", first).replace("THERE", there).replace("COUNT", count).replace("SHRINK", shrink)


# ------------------------------------------------------------- what a student wrote who followed the lessons


def softmax_d(scores):
    e = np.exp(scores - np.max(scores))
    return e / e.sum(1)[:, None]


def attend_d(q, k, v):
    s = np.einsum("qd,kd->qk", q, k) / len(k) ** 0.5
    s = np.exp(s - s.max(1, keepdims=True))
    return s / s.sum(1, keepdims=True) @ v


def norm_e(d_y, cache):
    x_hat, rstd, weight = cache
    g = weight * d_y
    return rstd * (g - np.mean(g) - np.mean(g * x_hat) * x_hat), np.einsum("nh,nh->h", d_y, x_hat), d_y.sum(0)


def norm_f(d_y, cache):
    x_hat, rstd, weight = cache
    n, g = len(weight), d_y * weight
    d_x = (g - g.sum(1, keepdims=True) / n - x_hat * (g * x_hat).sum(1, keepdims=True) / n) / rstd
    return d_x, (d_y * x_hat).sum(0), d_y.sum(0)


def flops_d(lengths, hidden, inner):
    n = sum(lengths)
    return 8 * n * hidden**2 + 4 * n * hidden * inner + 4 * hidden * n**2


def softmax_e(scores):
    e = np.exp(scores - np.mean(scores, 1)[:, None])
    return e / e.sum(1)[:, None]


def flops_e(lengths, hidden, inner):
    return sum(24 * n * hidden**2 + 4 * hidden * n**2 for n in lengths)


def clip_d(gradients, limit):
    flat = np.concatenate([np.ravel(g) for g in gradients])
    return flat / max(1.0, np.linalg.norm(flat))


def online_d(q, k, v, tile):
    m, z, out = 0.0, 0.0, 0 * v[0]
    for i in range(0, len(k), tile):
        s = k[i : i + tile] @ q
        n = max(m, s.max())
        z, out = z * np.exp(m - n) + np.exp(s - n).sum(), out * np.exp(m - n) + np.exp(s - n) @ v[i : i + tile]
        m = n
    return out / z


def association_d(word, these, those):
    near = [np.mean(group @ word / np.linalg.norm(group, axis=1)) for group in (these, those)]
    return abs(near[0] - near[1]) / np.linalg.norm(word)


def rows_d(masked, cu):
    return np.array([*masked, *cu[:-1]])


def scale_d(scale, good, norm, interval):
    if np.isinf(norm) or np.isnan(norm):
        return scale / 2, 0
    return (2 * scale, 0) if good >= interval else (scale, good + 1)


def entities_d(tags):
    found, begin = set(), None
    for i, tag in enumerate(tags):
        if begin is not None and (tag[0] != "I" or tag[2:] != tags[begin][2:]):
            found.add((tags[begin][2:], begin, i))
            begin = None
        if begin is None and tag != "O":
            begin = i
    return found


def longest_d(word, vocabulary):
    out, i = [], 0
    while i < len(word):
        ends = [j for j in range(i + 1, len(word) + 1) if ("##" if i else "") + word[i:j] in vocabulary]
        out.append(("##" if i else "") + word[i : ends[-1]] if ends else "[UNK]")
        i = ends[-1] if ends else i + 1
    return out


def product_kernel(
    there_a="r < M && 8 * n + x < K", there_b="8 * n + y < K && s < N", tiles="(K + 7) / 8", loaded="__syncthreads();",
    used="__syncthreads();", begin="", mine="p[8 * y + k] * q[8 * k + x]", edge="r < M && s < N", out="N * r + s",
):  # fmt: skip
    return f"""
__global__ void multiply(const float* a, const float* b, float* c, int M, int K, int N) {{
    __shared__ float p[64], q[64];
    int x = threadIdx.x, y = threadIdx.y, r = y + 8 * blockIdx.y, s = x + 8 * blockIdx.x;
    float total = 0.0f;
    for (int n = 0; n < {tiles}; n++) {{
        if ({there_a}) p[8 * y + x] = a[K * r + 8 * n + x]; else p[8 * y + x] = 0.0f;
        if ({there_b}) q[8 * y + x] = b[N * (8 * n + y) + s]; else q[8 * y + x] = 0.0f;
        {loaded}
        {begin}
        for (int k = 0; k < 8; k++) total += {mine};
        {used}
    }}
    if ({edge}) c[{out}] = total;
}}
"""


KERNELS = {
    "scale": [
        (scale_kernel(guard=""), "not a multiple of 32"),
        (scale_kernel(me="threadIdx.x"), "blocks before it"),
        (scale_kernel(guard="if (me >= count - 1) return;"), "last number is left out"),
    ],
    "row_sums": [
        (rows_kernel(barrier=""), "barrier is missing"),
        (rows_kernel(inner=""), "barrier is missing"),
        (rows_kernel(put="if (t < w) part[t] = s;"), "no thread has written"),
        (rows_kernel(loop="if (t < w) s = row[t];"), "loop with stride"),
        (rows_kernel(row="0"), "first row"),
        (EACH_ADDS, "sums in shared memory"),
        (EACH_ADDS.replace("sums[blockIdx.x]", "if (threadIdx.x == 0) sums[0]"), "Two blocks"),
    ],
    "layernorm_kernel": [
        (norm_kernel(barrier=""), "barrier is missing"),
        (norm_kernel(end="(w + 31) / 32 * 32"), "beyond its own row"),
        (norm_kernel(mu="0.0f"), "before you square"),
        (norm_kernel(eps=""), "eps is missing"),
    ],
    "tiled_product": [
        (product_kernel(loaded=""), "barrier is missing"),
        (product_kernel(there_a="8 * n + x < K"), "not multiples of 8"),
        (product_kernel(edge="r < M"), "right of the last column"),
        (product_kernel(tiles="K / 8"), "last tile is left out"),
        (product_kernel(mine="p[8 * y + k] * q[8 * x + k]"), "rows of the tile of b"),
    ],
    "flash_kernel": [
        (flash_source(first=""), "barrier is missing"),
        (flash_source(there="true"), "45 is not a multiple of 32"),
        (flash_source(count="32"), "beyond the end"),
        (flash_source(shrink=""), "context accumulated so far"),
        (flash_source().replace("m = -1e30f", "m = 0"), "minus infinity"),
    ],
}

MORE_KERNELS = {
    "tiled_product": [
        (product_kernel(used=""), "barrier is missing"),
        (product_kernel(there_b="s < N"), "not multiples of 8"),
        (product_kernel(edge="s < N"), "beyond M or N"),
        (product_kernel(tiles="1"), "first 8 products"),
        (product_kernel(begin="total = 0;"), "goes on from tile to tile"),
        (product_kernel(out="M * s + r"), "comes out transposed"),
    ],
}

WRONG = {
    "count_pairs": [
        (pairs_a, "each distinct word once"),
        (pairs_b, "twice in one word"),
        (pairs_c, "Only neighbours"),
    ],
    "merge_pair": [(merge_a, "only the first occurrence"), (merge_b, "only at the front"), (merge_c, "still there")],
    "best_by_score": [
        (likely_a, "most frequent pair"),
        (likely_b, "count of the first piece"),
        (likely_c, "lowest score"),
        (likely_d, "sum of the two counts"),
    ],
    "longest_match": [
        (longest_a, "shortest"),
        (longest_b, "pieces with ##"),
        (longest_c, "without the pieces found before"),
        (longest_d, "not one for each letter"),
    ],
    "positions_of": [(positions_a, "run on"), (positions_b, "begin at 0"), (positions_c, "backwards")],
    "embed": [(embed_a, "dog bites man"), (embed_b, "vector of the segment"), (embed_c, "not take their mean")],
    "scatter_add": [
        (scatter_a, "only the last one is added"),
        (scatter_b, "not their mean"),
        (scatter_c, "looks rows up"),
    ],
    "embedding_backward": [
        (tables_last, "only the last of its gradients"),
        (tables_mean, "not their mean"),
        (tables_third, "receives all of d_y"),
        (tables_tokens, "has ids of its own"),
    ],
    "encoder_layer": [
        (layer_no_first, "residual around attention"),
        (layer_no_second, "residual around the feed-forward layer"),
        (layer_wrong_second, "second residual adds x"),
        (layer_linear, "no activation"),
        (layer_norm_first, "normalise before"),
        (layer_no_output, "output projection"),
    ],
    "encoder_layer_backward": [
        (back_no_first, "residual around attention"),
        (back_no_second, "residual around the feed-forward layer"),
        (back_only_value, "only that of the value"),
        (back_only_query, "only that of the query"),
        (back_no_slope, "as if it were the identity"),
    ],
    "training_step": [
        (step_last, "Only the last part"),
        (step_mean, "mean over the parts"),
        (step_each, "each array by itself"),
        (step_early, "each part before"),
        (step_all_decay, "All arrays decay"),
        (step_no_decay, "Nothing decays"),
        (step_forgets, "begin at zero again"),
    ],
    "multi_head": [
        (heads_all_sequences, "look at other sequences"),
        (heads_one, "only one head"),
        (heads_strided, "every heads-th feature"),
        (heads_cut_alike, "need cu_k"),
        (heads_wide_scale, "divide by sqrt(D)"),
    ],
    "linear_backward": [
        (linear_a, "d_weight is transposed"),
        (linear_b, "not their mean"),
        (linear_c, "the job of the loss"),
    ],
    "gelu_backward": [
        (gelu_a, "One of the two terms"),
        (gelu_b, "1 / sqrt(2 pi)"),
        (gelu_c, "multiply the density by x"),
    ],
    "layernorm_backward": [
        (norm_a, "mean term is missing"),
        (norm_b, "variance term is missing"),
        (norm_c, "rstd is missing"),
        (norm_d, "factor weight is missing"),
        (norm_e, "all tokens together"),
        (norm_f, "divide by rstd"),
    ],
    "numeric_slope": [(slope_a, "one side only"), (slope_b, "*two* steps"), (slope_c, "sign is wrong")],
    "softmax": [
        (softmax_a, "overflows"),
        (softmax_b, "columns add up"),
        (softmax_c, "whole matrix"),
        (softmax_d, "each row's own maximum"),
        (softmax_e, "other than the row's maximum"),
    ],
    "softmax_backward": [(back_a, "do not subtract the mean"), (back_b, "diagonal"), (back_c, "not the plain mean")],
    "attend": [
        (attend_a, "not scaled"),
        (attend_b, "divide by D"),
        (attend_c, "over the queries"),
        (attend_d, "number of keys"),
    ],
    "attend_backward": [
        (head_a, "1 / sqrt(D) is missing"),
        (head_b, "do not subtract the row's mean"),
        (head_c, "skip the gradient of the softmax"),
    ],
    "residual_backward": [
        (residual_a, "residual connection is missing"),
        (residual_b, "skip the tanh"),
        (residual_c, "twice"),
    ],
    "drop": [
        (drop_a, "divided by 1 - rate"),
        (drop_b, "swapped the kept and the dropped"),
        (drop_c, "multiply by 1 - rate"),
    ],
    "layer_parameters": [
        (parameters_a, "biases"),
        (parameters_b, "missing 4 H"),
        (parameters_c, "four matrices"),
    ],
    "layer_flops": [
        (flops_a, "two operations"),
        (flops_b, "two products"),
        (flops_c, "products of attention itself"),
        (flops_d, "only to its own sequence"),
        (flops_e, "assume that F is 4 H"),
    ],
    "hide_tokens": [(hide_a, "every chosen token"), (hide_b, "stays as it is"), (hide_c, "this to every token")],
    "cross_entropy_backward": [
        (entropy_a, "Subtract 1 at the label"),
        (entropy_b, "divide by count"),
        (entropy_c, "argument count"),
    ],
    "tied_gradient": [
        (tied_a, "look-up is missing"),
        (tied_b, "logits is missing"),
        (tied_c, "only the last row"),
    ],
    "masked_loss": [
        (loss_a, "divide by the number of all tokens"),
        (loss_b, "Label 0"),
        (loss_c, "each sequence's mean"),
    ],
    "adamw_step": [(adam_a, "moments from before"), (adam_b, "Adam with L2"), (adam_c, "outside the square root")],
    "learning_rate": [(rate_a, "at step 0"), (rate_b, "never falls"), (rate_c, "warm-up is missing")],
    "clip": [
        (clip_a, "each array by itself"),
        (clip_b, "each number"),
        (clip_c, "small gradients *up*"),
        (clip_d, "norm of 1"),
    ],
    "uncertainty": [
        (interval_a, "one standard deviation"),
        (interval_b, "root is missing"),
        (interval_c, "divide the variance"),
    ],
    "rows_read": [
        (rows_a, "[CLS]"),
        (rows_b, "only once"),
        (rows_c, "no sequence begins"),
        (rows_d, "ascending order"),
    ],
    "fused_row": [(fused_a, "two large numbers"), (fused_b, "residual is missing"), (fused_c, "H - 1")],
    "pieces": [(pieces_a, "No thread"), (pieces_b, "other threads wait"), (pieces_c, "Two threads")],
    "online_attention": [
        (online_a, "must shrink along with the denominator"),
        (online_b, "denominator accumulated so far"),
        (online_c, "last keys"),
        (online_d, "minus infinity"),
    ],
    "flash_d_scores": [(tile_a, "of this tile"), (tile_b, "not only those of this tile"), (tile_c, "mean is missing")],
    "next_scale": [
        (scale_a, "half its value"),
        (scale_b, "must start again"),
        (scale_c, "NaN"),
        (scale_d, "one step late"),
    ],
    "label_first_pieces": [(labels_a, "every piece"), (labels_b, "last piece"), (labels_c, "[CLS] and [SEP]")],
    "best_span": [(span_a, "before the first"), (span_b, "Try all"), (span_c, "at most `longest`")],
    "find_entities": [
        (entities_a, "same type"),
        (entities_b, "*after*"),
        (entities_c, "continues nothing"),
        (entities_d, "end of the sentence"),
    ],
    "matthews": [(matthews_a, "accuracy"), (matthews_b, "root in the denominator"), (matthews_c, "F1")],
    "nearest": [(nearest_a, "only on the angle"), (nearest_b, "smallest distance"), (nearest_c, "farthest")],
    "association": [
        (bias_a, "mean of the cosines"),
        (bias_b, "Divide each dot product"),
        (bias_c, "means, not sums"),
        (association_d, "do not take the absolute value"),
    ],
}

WRONG |= later_answers.WRONG
KERNELS |= later_answers.KERNELS
