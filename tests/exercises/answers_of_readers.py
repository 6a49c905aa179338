"""What readers of the course wrote: right answers that differ from ours, and wrong ones with the words of their hint.

A check must accept any right answer, in whatever style; and name the mistake in a wrong one.
"""

import math
from collections import Counter, defaultdict
from statistics import NormalDist

import numpy as np

from minibert.exercises.flash import online_attention

# --------------------------------------------------------------------------------------------- right answers


def pairs_as_a_counter(words):
    counts = Counter()
    for word, n in words.items():
        for a, b in zip(word[:-1], word[1:], strict=True):
            counts[a, b] += n
    return counts


def pairs_as_a_defaultdict(words):
    counts = defaultdict(int)
    for word, n in words.items():
        for i in range(len(word) - 1):
            counts[word[i], word[i + 1]] += n
    return counts


def pieces_by_array_split(length, parts):
    cuts = np.array_split(np.arange(length), parts)
    result, first = [], 0
    for cut in cuts:
        result.append((first, first + len(cut)))
        first += len(cut)
    return result


def pieces_with_the_rest_last(length, parts):
    size, rest = divmod(length, parts)
    edges = [size * k + max(0, k - (parts - rest)) for k in range(parts + 1)]
    return [*zip(edges, edges[1:], strict=False)]


def slope_that_restores(f, x, step):
    out = np.zeros(x.shape)
    flat, slots = x.reshape(-1), out.reshape(-1)
    for i in range(flat.size):
        old = flat[i]
        flat[i] = old + step
        up = f(x)
        flat[i] = old - step
        slots[i] = (up - f(x)) / (2 * step)
        flat[i] = old
    return out


def entities_in_one_pass(tags):
    found, kind, first = [], None, 0
    for i, tag in enumerate(tags):
        here = None if tag == "O" else tag[2:]
        if kind is not None and (here != kind or tag[0] == "B"):
            found.append((kind, first, i))
            kind = None
        if here is not None and kind is None:
            kind, first = here, i
    if kind is not None:
        found.append((kind, first, len(tags)))
    return set(found)


def span_as_an_array(start_scores, end_scores, longest):
    sums = np.add.outer(start_scores, end_scores)
    i, j = np.indices(sums.shape)
    sums[(j < i) | (j >= i + longest)] = -np.inf
    return np.array(np.unravel_index(np.argmax(sums), sums.shape))


def exact_quantile(correct, count):
    p = correct / count
    return NormalDist().inv_cdf(0.975) * math.sqrt(p * (1 - p) / count)


def guarded_matthews(truth, said):
    t, s = np.array(truth), np.array(said)
    tp, tn, fp, fn = (t & s).sum(), ((1 - t) & (1 - s)).sum(), ((1 - t) & s).sum(), (t & (1 - s)).sum()
    return (tp * tn - fp * fn) / (math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) + 1e-8)


ONE_THREAD_ADDS = """__global__ void row_sums(const float* x, float* sums, int width) {
    if (threadIdx.x > 0) return;
    float sum = 0;
    for (int j = 0; j < width; j++) sum += x[blockIdx.x * width + j];
    sums[blockIdx.x] = sum;
}
"""

RIGHT = {
    "count_pairs": [pairs_as_a_counter, pairs_as_a_defaultdict],
    "pieces": [pieces_by_array_split, pieces_with_the_rest_last],
    "numeric_slope": [slope_that_restores],
    "best_span": [span_as_an_array],
    "uncertainty": [exact_quantile],
    "matthews": [guarded_matthews],
    "find_entities": [entities_in_one_pass],
}
RIGHT_KERNELS = {"row_sums": [ONE_THREAD_ADDS]}

# --------------------------------------------------------------------------------------------- wrong answers


def adam_a(value, gradient, first, second, rate, decay, beta1=0.9, beta2=0.999, eps=1e-6):
    m = first + (1 - beta1) * (gradient - first)
    v = second + (1 - beta2) * (gradient * gradient - second)
    return value * (1 - decay) - rate * m / (v**0.5 + eps), m, v


def adam_b(value, gradient, first, second, rate, decay, beta1=0.9, beta2=0.999, eps=1e-6):
    m = first + (1 - beta1) * (gradient - first)
    v = second + (1 - beta2) * (gradient * gradient - second)
    return value - rate * (m / (v + eps) + value * decay), m, v


def adam_c(value, gradient, first, second, rate, decay, beta1=0.9, beta2=0.999, eps=1e-6):
    m = first * beta2 + (1 - beta2) * gradient
    v = second * beta1 + (1 - beta1) * gradient * gradient
    return value - rate * decay * value - rate * m / (np.sqrt(v) + eps), m, v


def adam_d(value, gradient, first, second, rate, decay, beta1=0.9, beta2=0.999, eps=1e-6):
    m = first * beta1 + (1 - beta1) * gradient
    v = second * beta2 + (1 - beta2) * gradient * gradient
    m_hat, v_hat = m / (1 - beta1**1), v / (1 - beta2**1)
    return value - rate * decay * value - rate * m_hat / (np.sqrt(v_hat) + eps), m, v


def adam_e(value, gradient, first, second, rate, decay, beta1=0.9, beta2=0.999, eps=1e-6):
    m = 0.9 * first + 0.1 * gradient
    v = 0.999 * second + 0.001 * gradient**2
    return value - rate * (m / (np.sqrt(v) + eps) + decay * value), m, v


def rate_a(step, steps, peak, rising):
    return float(np.interp(step, [-1, rising - 1, rising, steps - 1], [0, peak, peak, 0]))


def fused_a(x, residual, weight, bias, eps):
    z = np.add(x, residual)
    return (z - z.mean()) / np.sqrt(z.var() + eps) * weight


def fused_b(x, residual, weight, bias, eps):
    z = np.add(x, residual)
    return (z - z.mean()) / (z.std() + eps) * weight + bias


def loss_a(losses, labels):
    kept = np.where(labels == -100, 0, losses.sum() / losses.size)
    return kept.sum() / np.count_nonzero(labels != -100)


def loss_b(losses, labels):
    return sum(loss for loss, label in zip(losses.flat, labels.flat, strict=True) if label != -100)


def residual_transposed(d_y, x, weight):
    t = np.tanh(np.einsum("ni,oi->no", x, weight))
    inside = d_y - d_y * t**2
    return d_y + inside.dot(weight), np.einsum("ni,no->io", x, inside)


def softmax_columns(scores):
    e = np.exp(scores)
    return e / e.sum(0)


def softmax_whole(scores):
    e = np.exp(scores)
    return e / e.sum()


def norm_sums(d_y, cache):
    x_hat, rstd, weight = cache
    g = weight * d_y
    rows = [
        r * (a - a.sum() - h * np.dot(a, h))
        for a, h, r in zip(g, x_hat, np.broadcast_to(rstd, (len(g), 1)), strict=True)
    ]
    return np.array(rows), np.einsum("nh,nh->h", d_y, x_hat), d_y.sum(0)


def norm_sign(d_y, cache):
    x_hat, rstd, weight = cache
    g, n = weight * d_y, d_y.shape[1]
    d_x = g - g.sum(1, keepdims=True) / n + x_hat * (g * x_hat).sum(1, keepdims=True) / n
    return d_x * rstd, np.einsum("nh,nh->h", d_y, x_hat), d_y.sum(0)


def norm_weight_last(d_y, cache):
    x_hat, rstd, weight = cache
    d_x = d_y - d_y.mean(1)[:, None] - x_hat * (d_y * x_hat).mean(1)[:, None]
    return rstd * d_x * weight, np.einsum("nh,nh->h", d_y, x_hat), d_y.sum(0)


def gelu_second_term(d_y, cache):
    x = cache[0]
    return d_y * x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def rows_of(scores):
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attend_late(query, key, value):
    return (rows_of(query @ key.T) @ value) / len(query[0]) ** 0.5


def back_mean(d, p):
    return d * p - p * np.mean(d * p, axis=-1)[:, None]


def head_unscaled(d_context, query, key, value):
    p = rows_of(query @ key.T)
    d_p = d_context @ value.T
    d_s = p * d_p - p * (p * d_p).sum(-1)[:, None]
    return d_s.dot(key), d_s.T.dot(query), p.T.dot(d_context)


def slope_in_place(f, x, step):
    slope = np.zeros_like(x)
    for i in np.ndindex(*x.shape):
        x[i] += step
        up = f(x)
        x[i] -= step * 2
        down = f(x)
        x[i] += step
        slope[i] = (up - down) / step / 2
    return slope


def online_undivided(query, key, value, tile):
    weights = np.exp(key @ query - (key @ query).max())
    return online_attention(query, key, value, tile) * weights.sum()


def online_last_tile(query, key, value, tile):
    start = (len(key) - 1) // tile * tile
    return rows_of((key[start:] @ query)[None])[0] @ value[start:]


def scores_less_delta(query, key, value, d_context, log_sums, delta):
    p = np.exp(query @ key.T - log_sums[:, None])
    return p * (d_context @ value.T) - delta.reshape(-1, 1)


def nearest_last(query, vectors, count):
    cosines = [v @ query / np.linalg.norm(v) for v in vectors]
    return np.argsort(cosines)[-count:]


def hide_with_4(token_ids, chosen, dice, random_ids, mask_id):
    seen = token_ids.copy()
    seen[chosen & (dice < 0.8)] = 4
    other = chosen & (dice >= 0.8) & (dice < 0.9)
    seen[other] = random_ids[other]
    return seen


def likely_without_brackets(pair_counts, piece_counts):
    scores = {(a, b): n / piece_counts[a] * piece_counts[b] for (a, b), n in pair_counts.items()}
    return sorted(scores, key=scores.get, reverse=True)[0]


def likely_by_the_larger(pair_counts, piece_counts):
    return max(pair_counts, key=lambda p: pair_counts[p] / max(map(piece_counts.get, p)))


def merge_as_text(pieces, pair):
    text = " ".join(pieces)
    return tuple(text.replace(f"{pair[0]} {pair[1]}", pair[0] + pair[1][2:]).split(" "))


def match_with_second_thoughts(word, vocabulary):
    def rest_of(rest, prefix):
        if not rest:
            return []
        for n in range(len(rest), 0, -1):
            if prefix + rest[:n] in vocabulary and (others := rest_of(rest[n:], "##")) is not None:
                return [prefix + rest[:n], *others]
        return None

    found = rest_of(word, "")
    return ["[UNK]"] if found is None else found


def pairs_overwritten(words):
    table = {}
    for word, n in words.items():
        table.update({(a, b): n for a, b in zip(word, word[1:], strict=False)})
    return table


def hide_twice(token_ids, chosen, dice, random_ids, mask_id):
    out = token_ids.copy()
    out[chosen & (dice < 0.8)] = mask_id
    out[chosen & (dice < 0.9)] = random_ids[chosen & (dice < 0.9)]
    return out


def loss_without_padding(losses, labels):
    kept = [loss for loss, label in zip(losses.ravel(), labels.ravel(), strict=True) if label != 0]
    return sum(kept) / len(kept)


def loss_for_each_sequence(losses, labels):
    return np.where(labels == -100, 0, losses).sum() / labels.shape[0]


def entropy_divided_early(logits, labels, count):
    return rows_of(logits) / count - np.eye(logits.shape[1])[labels]


def back_of_log_softmax(d, p):
    return d - np.einsum("qk,qj->qk", p, d)


def back_without_brackets(d, p):
    return d * p - np.sum(d * p, axis=-1)[:, None]


def attend_without_softmax(query, key, value):
    return (query @ key.T @ value) / math.sqrt(query.shape[-1])


def head_with_plain_mean(d_context, query, key, value):
    root = math.sqrt(query.shape[1])
    p = rows_of(query @ key.T / root)
    d_p = d_context @ value.T
    d_s = p * (d_p - np.mean(d_p, axis=1)[:, None]) / root
    return d_s @ key, d_s.T @ query, p.T @ d_context


def norm_without_brackets(d_y, cache):
    x_hat, rstd, weight = cache
    g = weight * d_y
    return g * rstd - g.mean(1)[:, None] - x_hat * (g * x_hat).mean(1)[:, None], (d_y * x_hat).sum(0), d_y.sum(0)


def slope_of_moved(f, x, step):
    copy, slope = x.copy(), np.zeros(x.size)
    for i in range(x.size):
        copy.flat[i] += step
        up = f(copy)
        copy.flat[i] -= 2 * step
        slope[i] = (up - f(copy)) / (2 * step)
    return slope.reshape(x.shape)


def span_from_zero(start_scores, end_scores, longest):
    best, answer = 0, (0, 0)
    for i, s in enumerate(start_scores):
        for j, e in enumerate(end_scores[i : i + longest]):
            if s + e > best:
                best, answer = s + e, (i, i + j)
    return answer


def matthews_of_two(truth, said):
    t, s = np.array(truth, bool), np.array(said, bool)
    tp, tn, fp, fn = (t & s).sum(), (~t & ~s).sum(), (~t & s).sum(), (t & ~s).sum()
    below = (tp + fp) * (tn + fn)
    return float((tp * tn - fp * fn) / below) if below else 0.0


def fractional_pieces(length, parts):
    size = length / parts
    return [(i * size, (i + 1) * size) for i in range(parts)]


def overflow_of_float16(scale, good_steps, norm, interval):
    if not norm <= 65504:
        return scale * 0.5, 0
    return (scale * 2, 0) if good_steps + 1 >= interval else (scale, good_steps + 1)


def adam_inside(value, gradient, first, second, rate, decay, beta1=0.9, beta2=0.999, eps=1e-6):
    m = beta1 * first + gradient * (1 - beta1)
    v = beta2 * second + gradient * gradient * (1 - beta2)
    return value - rate * (m + value * decay) / (eps + v**0.5), m, v


def unclipped(gradients, max_norm):
    return np.hstack([g.reshape(-1) for g in gradients])


WRONG = {
    "count_pairs": [(pairs_overwritten, "gets the counts of both")],
    "best_by_score": [(likely_without_brackets, "in parentheses"), (likely_by_the_larger, "larger one")],
    "merge_pair": [(merge_as_text, "whole pieces")],
    "longest_match": [(match_with_second_thoughts, "never goes back")],
    "cross_entropy_backward": [(entropy_divided_early, "Divide at the end")],
    "best_span": [(span_from_zero, "minus infinity")],
    "matthews": [(matthews_of_two, "All four factors")],
    "pieces": [(fractional_pieces, "cannot be divided")],
    "next_scale": [(overflow_of_float16, "65,504")],
    "clip": [(unclipped, "never scale the gradients down")],
    "adamw_step": [
        (adam_a, "not multiplied by the rate"),
        (adam_b, "root is missing"),
        (adam_c, "swapped"),
        (adam_d, "bias correction"),
        (adam_e, "for the betas"),
        (adam_inside, "inside the fraction"),
    ],
    "learning_rate": [(rate_a, "rate is 0 at the last step")],
    "fused_row": [(fused_a, "bias is missing"), (fused_b, "under the square root")],
    "masked_loss": [
        (loss_a, "before you average"),
        (loss_b, "That is the sum"),
        (loss_without_padding, "ignore_index=0"),
        (loss_for_each_sequence, "number of sequences"),
    ],
    "residual_backward": [(residual_transposed, "d_weight is transposed")],
    "softmax": [(softmax_columns, "columns add up"), (softmax_whole, "whole matrix")],
    "layernorm_backward": [
        (norm_sums, "you take sums"),
        (norm_sign, "wrong sign"),
        (norm_weight_last, "multiply by weight at the end"),
        (norm_without_brackets, "all three terms"),
    ],
    "gelu_backward": [(gelu_second_term, "first term of the product rule")],
    "attend": [(attend_late, "after the softmax"), (attend_without_softmax, "softmax is missing")],
    "softmax_backward": [
        (back_mean, "are its weights"),
        (back_of_log_softmax, "log-softmax"),
        (back_without_brackets, "whole difference"),
    ],
    "attend_backward": [(head_unscaled, "missing in both"), (head_with_plain_mean, "you take the plain mean")],
    "numeric_slope": [(slope_in_place, "rounding error"), (slope_of_moved, "still moved")],
    "online_attention": [(online_undivided, "never divide the context"), (online_last_tile, "Only the last tile")],
    "flash_d_scores": [(scores_less_delta, "p * (d_p - delta)")],
    "nearest": [(nearest_last, "nearest one comes last")],
    "hide_tokens": [(hide_with_4, "use mask_id"), (hide_twice, "overwrite every [MASK]")],
}


def sums_kernel(loop="j += blockDim.x", half="blockDim.x / 2", result="part[0]"):
    return f"""__global__ void sums(const float* x, float* out, int w) {{
    __shared__ float part[64];
    float own = 0.0f;
    for (int j = threadIdx.x; j < w; {loop}) own = own + x[w * blockIdx.x + j];
    part[threadIdx.x] = own;
    __syncthreads();
    for (int n = {half}; n >= 1; n >>= 1) {{
        if (threadIdx.x < n) part[threadIdx.x] += part[n + threadIdx.x];
        __syncthreads();
    }}
    if (threadIdx.x == 0) out[blockIdx.x] = {result};
}}
"""


def norm_kernel(width="w", below="sqrtf(square + e)"):
    return f"""__global__ void norm(const float* x, float* y, int w, float e) {{
    __shared__ float part[32];
    int t = threadIdx.x, base = w * blockIdx.x;
    float own = 0, mean = 0, square = 0;
    for (int j = t; j < w; j += 32) own += x[base + j];
    part[t] = own;
    __syncthreads();
    for (int k = 0; k < 32; k++) mean += part[k];
    mean /= {width};
    own = 0;
    __syncthreads();
    for (int j = t; j < w; j += 32) own += (x[base + j] - mean) * (x[base + j] - mean);
    part[t] = own;
    __syncthreads();
    for (int k = 0; k < 32; k++) square += part[k];
    square /= {width};
    for (int j = t; j < w; j += 32) y[base + j] = (x[base + j] - mean) / ({below});
}}
"""


def one_query_each(start="-1e30f", scale="1.0f", tiles="T", update="m = n;"):
    return f"""__global__ void mine(const float* q, const float* k, const float* v, float* out, int T) {{
    __shared__ float ks[128], vs[128];
    int t = threadIdx.x, me = 32 * blockIdx.x + t;
    float m = {start}, l = 0, c[4] = {{0, 0, 0, 0}};
    for (int base = 0; base < {tiles}; base += 32) {{
        for (int d = 0; d < 4; ++d) ks[4 * t + d] = base + t < T ? k[4 * (base + t) + d] : 0;
        for (int d = 0; d < 4; ++d) vs[4 * t + d] = base + t < T ? v[4 * (base + t) + d] : 0;
        __syncthreads();
        for (int j = 0; me < T && j < min(32, T - base); ++j) {{
            float s = 0;
            for (int d = 0; d < 4; ++d) s += {scale} * q[4 * me + d] * ks[4 * j + d];
            float n = max(m, s), w = expf(s - n), f = expf(m - n);
            l = f * l + w;
            for (int d = 0; d < 4; ++d) c[d] = f * c[d] + w * vs[4 * j + d];
            {update}
        }}
        __syncthreads();
    }}
    for (int d = 0; me < T && d < 4; ++d) out[4 * me + d] = c[d] / l;
}}
"""


SCALE_TO_N = """__global__ void scale(float* x, int n, float factor) {
    int i = threadIdx.x + blockIdx.x * blockDim.x;
    if (i <= n) x[i] = x[i] * factor;
}
"""

SCALE_A_COPY = """__global__ void scale(float* x, int n, float factor) {
    int i = threadIdx.x + blockIdx.x * blockDim.x;
    if (i < n) { float mine = x[i]; mine *= factor; }
}
"""
ONE_PASS = """__global__ void norm(const float* x, float* y, int w, float e) {
    __shared__ float sums[32], squares[32];
    int t = threadIdx.x, base = w * blockIdx.x;
    float a = 0, b = 0;
    for (int j = t; j < w; j += 32) { a += x[base + j]; b += x[base + j] * x[base + j]; }
    sums[t] = a;
    squares[t] = b;
    __syncthreads();
    a = b = 0;
    for (int k = 0; k < 32; k++) { a += sums[k]; b += squares[k]; }
    float mean = a / w, variance = max(b / w - mean * mean, 0.0f);
    for (int j = t; j < w; j += 32) y[base + j] = (x[base + j] - mean) / sqrtf(variance + e);
}
"""

ROWS_FIRST = """__global__ void product(const float* a, const float* b, float* c, int M, int K, int N) {
    __shared__ float ta[8][8], tb[8][8];
    int row = blockIdx.x * 8 + threadIdx.x, column = blockIdx.y * 8 + threadIdx.y;
    float sum = 0;
    for (int first = 0; first < K; first += 8) {
        int k = first + threadIdx.y, l = first + threadIdx.x;
        ta[threadIdx.x][threadIdx.y] = row < M && k < K ? a[row * K + k] : 0;
        tb[threadIdx.x][threadIdx.y] = l < K && column < N ? b[l * N + column] : 0;
        __syncthreads();
        for (int i = 0; i < 8; i++) sum += ta[threadIdx.x][i] * tb[i][threadIdx.y];
        __syncthreads();
    }
    if (row < M && column < N) c[row * N + column] = sum;
}
"""

WRONG_KERNELS = {
    "tiled_product": [(ROWS_FIRST, "never written")],
    "flash_kernel": [
        (one_query_each(start="0"), "minus infinity"),
        (one_query_each(scale="0.5f"), "not scaled in this exercise"),
        (one_query_each(update=""), "never set maximum"),
    ],
    "scale": [(SCALE_TO_N, "x[n] is already beyond the end"), (SCALE_A_COPY, "write the result back")],
    "row_sums": [
        (sums_kernel(result="own"), "Thread 0 writes only its own sum"),
        (sums_kernel(loop="j += 64"), "not always 64"),
        (sums_kernel(half="32"), "not always 64"),
    ],
    "layernorm_kernel": [
        (norm_kernel(width="32"), "divide by 32"),
        (norm_kernel(below="sqrtf(square) + e"), "eps belongs"),
        (norm_kernel(below="1 / sqrtf(square + e)"), "multiply by the square root"),
        (ONE_PASS, "does not survive"),
    ],
}
