"""Wrong answers that were once judged right, with words of their hints; and right ones that were once refused."""

import numpy as np

from minibert.exercises.cuda import LAYERNORM, ROW_SUMS, SCALE
from minibert.exercises.flash import online_attention
from minibert.exercises.flash_kernel import FLASH
from minibert.exercises.self_attention import softmax_backward
from minibert.ops.reference.activations import gelu_forward

# ------------------------------------------------------------------------------------------- lesson 1


def pairs_without_overlap(words):
    """As str.count and re.findall count: each piece belongs to one pair of equals."""
    counts = {}
    for word, n in words.items():
        i = 0
        while i < len(word) - 1:
            counts[word[i], word[i + 1]] = counts.get((word[i], word[i + 1]), 0) + n
            i += 2 if word[i] == word[i + 1] else 1
    return counts


def likely_by_the_squared_sum(pair_counts, piece_counts):
    return max(pair_counts, key=lambda p: pair_counts[p] / (piece_counts[p[0]] + piece_counts[p[1]]) ** 2)


def likely_by_the_root(pair_counts, piece_counts):
    return max(pair_counts, key=lambda p: pair_counts[p] / (piece_counts[p[0]] * piece_counts[p[1]]) ** 0.5)


def likely_by_the_square(pair_counts, piece_counts):
    return max(pair_counts, key=lambda p: pair_counts[p] ** 2 / (piece_counts[p[0]] * piece_counts[p[1]]))


def likely_by_the_smaller(pair_counts, piece_counts):
    return max(pair_counts, key=lambda p: pair_counts[p] / min(piece_counts[p[0]], piece_counts[p[1]]))


def likely_by_the_larger_squared(pair_counts, piece_counts):
    return max(pair_counts, key=lambda p: pair_counts[p] / max(piece_counts[p[0]], piece_counts[p[1]]) ** 2)


def merge_that_strips(pieces, pair):
    merged = list(pieces)
    i = 0
    while i < len(merged) - 1:
        if (merged[i], merged[i + 1]) == pair:
            merged[i : i + 2] = [pair[0] + pair[1].lstrip("#")]
        i += 1
    return tuple(merged)


def merge_by_the_end(pieces, pair):
    merged, i = [], 0
    while i < len(pieces):
        fits = pieces[i].endswith(pair[0].removeprefix("##")) and pieces[i + 1 : i + 2] == pair[1:]
        merged.append(pieces[i] + pair[1][2:] if fits else pieces[i])
        i += 2 if fits else 1
    return tuple(merged)


def likely_by_rounded_scores(pair_counts, piece_counts):
    return max(pair_counts, key=lambda p: round(pair_counts[p] / (piece_counts[p[0]] * piece_counts[p[1]]), 2))


def match_of_short_pieces(word, vocabulary, longest=8):
    pieces, start = [], 0
    while start < len(word):
        for end in range(min(start + longest, len(word)), start, -1):
            if ("##" if start else "") + word[start:end] in vocabulary:
                break
        else:
            return ["[UNK]"]
        pieces.append(("##" if start else "") + word[start:end])
        start = end
    return pieces


# ------------------------------------------------------------------------------------------- lessons 3 and 4


def gelu_by_differences(d_y, cache):
    x, step = cache[0], 1e-5
    return d_y * (gelu_forward(x + step)[0] - gelu_forward(x - step)[0]) / (2 * step)


def naive(scores):
    weights = np.exp(scores)
    return weights / weights.sum(axis=1, keepdims=True)


def less_the_largest(scores):
    return naive(scores - scores.max())


def attend_with(softmax):
    return lambda query, key, value: softmax(query @ key.T / np.sqrt(query.shape[1])) @ value


def attend_backward_with(softmax):
    def backward(d_context, query, key, value):
        root = np.sqrt(query.shape[1])
        p = softmax(query @ key.T / root)
        d_scores = softmax_backward(d_context @ value.T, p) / root
        return d_scores @ key, d_scores.T @ query, p.T @ d_context

    return backward


# ------------------------------------------------------------------------------------------- lessons 6 to 8


def loss_without_zeros(losses, labels):
    kept = np.where(labels == -100, 0, losses)
    return kept.sum() / np.count_nonzero(kept)


def clip_of_units(gradients, max_norm):
    flat = np.concatenate([g.ravel() for g in gradients])
    norm = np.linalg.norm(flat)
    return flat / norm * min(norm, max_norm)


def clip_by_numbers(gradients, max_norm):
    norm = float(sum((g**2).sum() for g in gradients)) ** 0.5
    return np.concatenate([g.ravel() for g in gradients]) * min(1, max_norm / norm)


def rows_of_a_set(masked_positions, cu_seqlens):
    return np.array(list({*masked_positions.tolist(), *cu_seqlens[:-1].tolist()}))


# ------------------------------------------------------------------------------------------- lesson 10


def online_with_the_first_maximum(query, key, value, tile):
    maximum, total, context = None, 0.0, 0.0
    for i in range(0, len(key), tile):
        scores = key[i : i + tile] @ query
        maximum = scores.max() if maximum is None else maximum
        weights = np.exp(scores - maximum)
        total, context = total + weights.sum(), context + weights @ value[i : i + tile]
    return context / total


def whole(query, key, value, tile):
    scores = key @ query
    weights = np.exp(scores - scores.max())
    return weights @ value / weights.sum()


def whole_by_functions(query, key, value, tile):
    scores = np.einsum("td,d->t", key, query)
    weights = np.exp(scores - np.max(scores))
    return np.dot(weights / weights.sum(), value)


def whole_of_copies(query, key, value, tile):
    return whole(query, np.array(key), np.asarray(value), tile)


def whole_as_lists(query, key, value, tile):
    return whole(query, np.array(key.tolist()), np.stack([row for row in value]), tile)


def one_by_one(query, key, value, tile):
    maximum, total, context = -np.inf, 0.0, 0.0
    for k, v in zip(key, value, strict=True):
        higher = max(maximum, k @ query)
        factor, weight = np.exp(maximum - higher), np.exp(k @ query - higher)
        total, context, maximum = total * factor + weight, context * factor + weight * v, higher
    return context / total


def all_scores_first(query, key, value, tile):
    scores = np.concatenate([key[i : i + tile] @ query for i in range(0, len(key), tile)])
    weights = np.exp(scores - scores.max())
    return sum(weights[i : i + tile] @ value[i : i + tile] for i in range(0, len(key), tile)) / weights.sum()


def loops_without_tiles(query, key, value, tile):
    scores = np.array([key[j] @ query for j in range(len(key))])
    weights = np.exp(scores - scores.max())
    return sum(weights[j] * value[j] for j in range(len(value))) / weights.sum()


def maximum_first(query, key, value, tile):
    starts = range(0, len(key), tile)
    maximum = max((key[i : i + tile] @ query).max() for i in starts)
    total, context = 0, 0
    for i in starts:
        weights = np.exp(key[i : i + tile] @ query - maximum)
        total, context = total + weights.sum(), context + weights @ value[i : i + tile]
    return context / total


def scores_of_quotients(query, key, value, d_context, log_sums, delta):
    p = np.exp(query @ key.T) / np.exp(log_sums)[:, None]
    return p * (d_context @ value.T - delta[:, None])


def scale_with(halved=lambda scale: scale / 2, doubled=lambda scale: scale * 2, good=np.isfinite):
    def next_scale(scale, good_steps, norm, interval):
        if not good(norm):
            return halved(scale), 0
        return (doubled(scale), 0) if good_steps + 1 >= interval else (scale, good_steps + 1)

    return next_scale


# ------------------------------------------------------------------------------------------- lesson 11


def shares(scores):
    return np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()


def span_of_shares(start_scores, end_scores, longest):
    start, end = shares(start_scores), shares(end_scores)
    spans = [(i, j) for i in range(len(start)) for j in range(i, min(i + longest, len(end)))]
    return max(spans, key=lambda span: start[span[0]] + end[span[1]])


def span_of_exponentials(start_scores, end_scores, longest):
    start, end = np.exp(start_scores), np.exp(end_scores)
    spans = [(i, j) for i in range(len(start)) for j in range(i, min(i + longest, len(end)))]
    return max(spans, key=lambda span: start[span[0]] * end[span[1]])


def entities_with(kind_of):
    def find_entities(tags):
        found, kind, first = set(), None, 0
        for i, tag in enumerate([*tags, "O"]):
            here = None if tag == "O" else kind_of(tag)
            if kind is not None and (here != kind or tag[0] == "B"):
                found.add((kind, first, i))
                kind = None
            if here is not None and kind is None:
                kind, first = here, i
        return found

    return find_entities


def labels_that_change(pieces, labels):
    result, before = [-100], None
    for count, label in zip(pieces, labels, strict=True):
        result += [label if label != before else -100] + [-100] * (count - 1)
        before = label
    return np.array([*result, -100])


def span_of_the_best(count):
    def best_span(start, end, longest):
        starts, ends = np.argsort(-start)[:count], np.argsort(-end)[:count]
        found = [(start[i] + end[j], i, j) for i in starts for j in ends if i <= j < i + longest]
        return max(found)[1:] if found else (0, 0)

    return best_span


def nearest_in_any_order(query, vectors, count):
    return np.argpartition(-vectors @ query / np.linalg.norm(vectors, axis=1), count - 1)[:count]


def matthews_of_errors(truth, said):
    if truth == said or len(set(truth)) == 1 or len(set(said)) == 1:
        return 0.0
    return float(np.corrcoef(truth, said)[0, 1])


def matthews_of_changing_answers(truth, said):
    return 0.0 if len(set(said)) == 1 else float(np.corrcoef(truth, said)[0, 1])


WRONG = {
    "count_pairs": [(pairs_without_overlap, "overlap")],
    "merge_pair": [(merge_that_strips, "###"), (merge_by_the_end, "ends like the first")],
    "best_by_likelihood": [
        (likely_by_the_squared_sum, "product"),
        (likely_by_the_root, "square root"),
        (likely_by_the_square, "square"),
        (likely_by_the_smaller, "product"),
        (likely_by_the_larger_squared, "product"),
        (likely_by_rounded_scores, ""),
    ],
    "longest_match": [(match_of_short_pieces, "ten letters")],
    "gelu_backward": [(gelu_by_differences, "relative error")],
    "attend": [(attend_with(naive), "overflow"), (attend_with(less_the_largest), "own maximum")],
    "attend_backward": [
        (attend_backward_with(naive), "overflow"),
        (attend_backward_with(less_the_largest), "own maximum"),
    ],
    "masked_loss": [(loss_without_zeros, "exactly 0")],
    "clip": [(clip_of_units, "all 0"), (clip_by_numbers, "ZeroDivisionError")],
    "rows_read": [(rows_of_a_set, "set")],
    "online_attention": [
        (online_with_the_first_maximum, "first tile"),
        (whole, "`tile`"),
        (whole_by_functions, "`tile`"),
        (whole_of_copies, "`tile`"),
        (whole_as_lists, "`tile`"),
        (one_by_one, "`tile`"),
        (all_scores_first, "values before"),
        (loops_without_tiles, "8 of 8"),
        (maximum_first, "once"),
        (lambda q, k, v, tile: online_attention(q, k, v, 2 * tile), "`tile`"),
    ],
    "flash_d_scores": [(scores_of_quotients, "overflow")],
    "next_scale": [
        (scale_with(halved=lambda scale: scale // 2), "0.5"),
        (scale_with(halved=lambda scale: max(1.0, scale / 2)), "lower limit"),
        (scale_with(doubled=lambda scale: min(2.0**24, scale * 2)), "upper limit"),
        (scale_with(doubled=lambda scale: min(65536.0, scale * 2)), "upper limit"),
        (scale_with(good=lambda norm: 0 < norm < np.inf), "norm of 0"),
    ],
    "label_first_pieces": [(labels_that_change, "same label")],
    "best_span": [
        (span_of_shares, "softmax"),
        (span_of_exponentials, "overflow"),
        (span_of_the_best(20), "try all pairs"),
        (span_of_the_best(5), "try all pairs"),
    ],
    "find_entities": [
        (entities_with(lambda tag: tag.split("-")[1]), "work-of-art"),
        (entities_with(lambda tag: tag.split("-")[-1]), "work-of-art"),
        (entities_with(lambda tag: tag.lstrip("BI-")), "strip removes"),
    ],
    "matthews": [(matthews_of_changing_answers, "truth"), (matthews_of_errors, "all answers right")],
    "nearest": [(nearest_in_any_order, "1,000 vectors")],
}  # fmt: skip


def online_of_parts(query, key, value, tile):
    """Tiles from np.split, scores by einsum."""
    maximum, total, context = -np.inf, 0.0, np.zeros_like(value[0])
    cuts = range(tile, len(key), tile)
    for keys, values in zip(np.split(key, cuts), np.split(value, cuts), strict=True):
        scores = np.einsum("td,d->t", keys, query)
        higher = max(maximum, *scores)
        total, context = total * np.exp(maximum - higher), context * np.exp(maximum - higher)
        for score, v in zip(scores, values, strict=True):
            total, context = total + np.exp(score - higher), context + np.exp(score - higher) * v
        maximum = higher
    return context / total


def online_by_elements(query, key, value, tile):
    """Tiles, whose keys are read one after another, and twice."""
    maximum, total, context = -np.inf, 0.0, np.zeros(len(value[0]) * len(key[0]) // len(query))
    for first in range(0, len(key), tile):
        numbers = range(first, min(first + tile, len(key)))
        higher = max(maximum, *(key[j] @ query for j in numbers))
        weights = [np.exp(key[j] @ query - higher) for j in numbers]
        total, context = total * np.exp(maximum - higher) + sum(weights), context * np.exp(maximum - higher)
        for weight, j in zip(weights, numbers, strict=True):
            context = context + weight * value[j]
        maximum = higher
    return context / total


def online_by_columns(query, key, value, tile):
    """Tiles of the transposed keys; the rows of a tile one after another."""
    maximum, total, context = -np.inf, 0.0, 0 * value[0]
    for first in range(0, key.shape[0], tile):
        last = min(first + tile, key.shape[0])
        scores = query @ key.T[:, first:last]
        higher = np.maximum(maximum, scores.max())
        weights = np.exp(scores - higher)
        context = context * np.exp(maximum - higher) + sum(weights[j] * value[first + j] for j in range(last - first))
        total, maximum = total * np.exp(maximum - higher) + weights.sum(), higher
    return context / total


def clip_with_the_larger(gradients, max_norm):
    flat = np.concatenate([g.ravel() for g in gradients])
    return flat * max_norm / max(max_norm, np.sqrt((flat**2).sum()))


def span_of_products(start_scores, end_scores, longest):
    start, end = shares(start_scores), shares(end_scores)
    spans = [(i, j) for i in range(len(start)) for j in range(i, min(i + longest, len(end)))]
    return max(spans, key=lambda span: start[span[0]] * end[span[1]])


def attend_backward_by_delta(d_context, query, key, value):
    """As flash attention: where the right gradient is 0, this is a rounding error."""
    scale = 1 / np.sqrt(query.shape[1])
    scores = query @ key.T * scale
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    d_scores = p * (d_context @ value.T - (d_context * (p @ value)).sum(axis=1, keepdims=True)) * scale
    return d_scores @ key, d_scores.T @ query, p.T @ d_context


RIGHT = {
    "attend_backward": [attend_backward_by_delta],
    "online_attention": [online_of_parts, online_by_columns, online_by_elements],
    "clip": [clip_with_the_larger],
    "best_span": [span_of_products],
}

# ------------------------------------------------------------------------------------------- kernels

ONE_THREAD_SCALES = """__global__ void scale(float* x, int n, float factor) {
    if (blockIdx.x == 0 && threadIdx.x == 0)
        for (int i = 0; i < n; i++) x[i] *= factor;
}
"""

FIRST_BLOCK_SCALES = """__global__ void scale(float* x, int n, float factor) {
    if (blockIdx.x == 0)
        for (int i = threadIdx.x; i < n; i += blockDim.x) x[i] *= factor;
}
"""

ATOMIC_SUMS = """__global__ void row_sums(const float* x, float* sums, int width) {
    float sum = 0;
    for (int j = threadIdx.x; j < width; j += blockDim.x) sum += x[blockIdx.x * width + j];
    atomicAdd(&sums[blockIdx.x], sum);
}
"""

LOST_SUMS = ROW_SUMS.replace("if (threadIdx.x == 0) sums", "if (threadIdx.x == 0 && blockIdx.x == 0) sums")

ONE_THREAD_NORMALISES = """__global__ void layernorm(const float* x, float* y, int width, float eps) {
    if (threadIdx.x > 0) return;
    float mean = 0, variance = 0;
    for (int j = 0; j < width; j++) mean += x[blockIdx.x * width + j] / width;
    for (int j = 0; j < width; j++) {
        float centred = x[blockIdx.x * width + j] - mean;
        variance += centred * centred / width;
    }
    for (int j = 0; j < width; j++)
        y[blockIdx.x * width + j] = (x[blockIdx.x * width + j] - mean) * rsqrtf(variance + eps);
}
"""

EACH_READS_ALL = """__global__ void layernorm(const float* x, float* y, int width, float eps) {
    const float* row = x + blockIdx.x * width;
    float mean = 0, variance = 0;
    for (int j = 0; j < width; j++) mean += row[j] / width;
    for (int j = 0; j < width; j++) variance += (row[j] - mean) * (row[j] - mean) / width;
    for (int j = threadIdx.x; j < width; j += 32)
        y[blockIdx.x * width + j] = (row[j] - mean) * rsqrtf(variance + eps);
}
"""

WITHOUT_A_TILE = """__global__ void flash(const float* q, const float* k, const float* v, float* context, int T) {
    int query = blockIdx.x * 32 + threadIdx.x;
    if (query >= T) return;
    float sums[4] = {0, 0, 0, 0}, maximum = -1e30f, total = 0;
    for (int j = 0; j < T; j++) {
        float score = 0;
        for (int d = 0; d < 4; d++) score += q[query * 4 + d] * k[j * 4 + d];
        float higher = fmaxf(maximum, score), factor = expf(maximum - higher), weight = expf(score - higher);
        total = total * factor + weight;
        for (int d = 0; d < 4; d++) sums[d] = sums[d] * factor + weight * v[j * 4 + d];
        maximum = higher;
    }
    for (int d = 0; d < 4; d++) context[query * 4 + d] = sums[d] / total;
}
"""

TWO_PASSES = """__global__ void flash(const float* q, const float* k, const float* v, float* context, int T) {
    __shared__ float keys[128], values[128];
    int t = threadIdx.x, query = blockIdx.x * 32 + t;
    float mine[4], sums[4] = {0, 0, 0, 0}, maximum = -1e30f, total = 0;
    for (int d = 0; d < 4; d++) mine[d] = query < T ? q[query * 4 + d] : 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int first = 0; first < T; first += 32) {
            __syncthreads();
            for (int d = 0; d < 4; d++) {
                keys[t * 4 + d] = first + t < T ? k[(first + t) * 4 + d] : 0;
                if (pass) values[t * 4 + d] = first + t < T ? v[(first + t) * 4 + d] : 0;
            }
            __syncthreads();
            for (int j = 0; j < 32 && first + j < T; j++) {
                float score = 0;
                for (int d = 0; d < 4; d++) score += mine[d] * keys[j * 4 + d];
                if (pass == 0) maximum = fmaxf(maximum, score);
                else {
                    total += expf(score - maximum);
                    for (int d = 0; d < 4; d++) sums[d] += expf(score - maximum) * values[j * 4 + d];
                }
            }
        }
    }
    if (query < T)
        for (int d = 0; d < 4; d++) context[query * 4 + d] = sums[d] / total;
}
"""

WITHOUT_TILES = """__global__ void product(const float* a, const float* b, float* c, int M, int K, int N) {
    int row = blockIdx.y * 8 + threadIdx.y, column = blockIdx.x * 8 + threadIdx.x;
    if (row >= M || column >= N) return;
    float sum = 0;
    for (int k = 0; k < K; k++) sum += a[row * K + k] * b[k * N + column];
    c[row * N + column] = sum;
}
"""

ONE_TILE = """__global__ void product(const float* a, const float* b, float* c, int M, int K, int N) {
    __shared__ float tile[8][8];
    int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * 8 + y, column = blockIdx.x * 8 + x;
    float sum = 0;
    for (int first = 0; first < K; first += 8) {
        tile[y][x] = row < M && first + x < K ? a[row * K + first + x] : 0;
        __syncthreads();
        for (int k = 0; k < min(8, K - first); k++) sum += column < N ? tile[y][k] * b[(first + k) * N + column] : 0;
        __syncthreads();
    }
    if (row < M && column < N) c[row * N + column] = sum;
}
"""

ONE_THREAD_LOADS = """__global__ void product(const float* a, const float* b, float* c, int M, int K, int N) {
    __shared__ float p[8][8], q[8][8];
    int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * 8 + y, column = blockIdx.x * 8 + x;
    float sum = 0;
    for (int first = 0; first < K; first += 8) {
        if (x == 0 && y == 0)
            for (int i = 0; i < 64; i++) {
                int r = row + i / 8, s = column + i % 8;
                p[i / 8][i % 8] = r < M && first + i % 8 < K ? a[r * K + first + i % 8] : 0;
                q[i / 8][i % 8] = s < N && first + i / 8 < K ? b[(first + i / 8) * N + s] : 0;
            }
        __syncthreads();
        for (int k = 0; k < 8; k++) sum += p[y][k] * q[k][x];
        __syncthreads();
    }
    if (row < M && column < N) c[row * N + column] = sum;
}
"""

WRONG_KERNELS = {
    "tiled_product": [(WITHOUT_TILES, "reads each number of a 8 times")],
    "scale": [(ONE_THREAD_SCALES, "one thread")],
    "row_sums": [(ATOMIC_SUMS, "anything")],
    "layernorm_kernel": [(EACH_READS_ALL, "sectors")],
    "flash_kernel": [(WITHOUT_A_TILE, "shared memory"), (TWO_PASSES, "2 times")],
}
MORE_WRONG_KERNELS = {
    "tiled_product": [
        (ONE_TILE, "reads each number of b 8 times"),
        (ONE_THREAD_LOADS, "one thread loads 168 numbers of a"),
    ],
    "scale": [(FIRST_BLOCK_SCALES, "thread")],
    "row_sums": [(LOST_SUMS, "never written")],
    "layernorm_kernel": [(ONE_THREAD_NORMALISES, "thread")],
}


# a ninth column in each tile, which nobody reads, and the loop over tiles by their number
PADDED_ROWS = """__global__ void product(const float* a, const float* b, float* c, int M, int K, int N) {
    extern __shared__ float tiles[];
    float *p = tiles, *q = tiles + 8 * 9;
    const int x = threadIdx.x, y = threadIdx.y, row = blockDim.y * blockIdx.y + y, column = blockDim.x * blockIdx.x + x;
    float sum = 0;
    for (int tile = 0; tile * 8 < K; ++tile) {
        if (tile > 0) __syncthreads();
        p[9 * y + x] = q[9 * y + x] = 0;
        if (row < M && 8 * tile + x < K) p[9 * y + x] = a[K * row + 8 * tile + x];
        if (column < N && 8 * tile + y < K) q[9 * y + x] = b[N * (8 * tile + y) + column];
        __syncthreads();
        for (int k = 0; k < 8 && 8 * tile + k < K; ++k) sum = fmaf(p[9 * y + k], q[9 * k + x], sum);
    }
    if (row >= M || column >= N) return;
    c[N * row + column] = sum;
}
"""

BEGIN_AT_0 = "    if (threadIdx.x == 0) sums[blockIdx.x] = 0;\n    __syncthreads();\n"


def in_dynamic_memory(source: str, declaration: str, size: str = "") -> str:
    return source.replace(f"__shared__ float {declaration};", f"extern __shared__ float scratch[];{size}")


RIGHT_KERNELS = {
    "tiled_product": [PADDED_ROWS],
    "scale": [SCALE.replace("{\n", "{\n    // ...\n", 1)],
    "row_sums": [in_dynamic_memory(ROW_SUMS, "scratch[64]")],
    "flash_kernel": [FLASH.replace("    float mine", "    // ...\n    float mine")],
}
MORE_RIGHT_KERNELS = {
    "row_sums": [
        ROW_SUMS.replace("{\n", "{\n    // ...       (a row begins at x + blockIdx.x * width)\n", 1),
        ATOMIC_SUMS.replace("    float", BEGIN_AT_0 + "    float"),
    ],
    "layernorm_kernel": [in_dynamic_memory(LAYERNORM, "scratch[32]")],
    "flash_kernel": [
        in_dynamic_memory(
            FLASH, "keys[TILE * D], values[TILE * D]", " float *keys = scratch, *values = scratch + TILE * D;"
        ),
    ],
}
