"""Answers to exercises of lessons 8, 10 and 12, written otherwise than the package writes them, as in wrong_answers."""

import numpy as np

# ------------------------------------------------------------------------------------- lesson 6: choose_tokens


def choose_one_by_one(special, continues, dice, rate):
    chosen, word = [], False
    for i in range(len(dice)):
        if i == 0 or not continues[i]:
            word = dice[i] < rate
        chosen.append(bool(word and not special[i]))
    return np.array(chosen)


def choose_a(special, continues, dice, rate):
    return np.logical_and(dice < rate, np.logical_not(special))


def choose_b(special, continues, dice, rate):
    return choose_one_by_one(np.zeros(len(dice), bool), continues, dice, rate)


def choose_c(special, continues, dice, rate):
    return np.array([d < rate and not c and not s for s, c, d in zip(special, continues, dice, strict=True)])


def choose_d(special, continues, dice, rate):
    words = np.cumsum(~continues) - 1
    any_low = np.zeros(words[-1] + 1, bool)
    np.logical_or.at(any_low, words, dice < rate)
    return any_low[words] & ~special


# ------------------------------------------------------------------------------------------ lesson 8: roofline


def roof_of_times(operations, moved, peak, bandwidths):
    times = [operations / peak] + [b / speed for b, speed in zip(moved, bandwidths, strict=True)]
    return operations / sorted(times)[-1], [peak / speed for speed in bandwidths]


def roof_a(operations, moved, peak, bandwidths):
    slopes = [operations / b * speed if b else np.inf for b, speed in zip(moved, bandwidths, strict=True)]
    return max([peak, *slopes]), peak / bandwidths


def roof_b(operations, moved, peak, bandwidths):
    return peak, [peak / speed for speed in bandwidths]


def roof_c(operations, moved, peak, bandwidths):
    return operations / (moved / bandwidths).max(), peak / bandwidths


def roof_d(operations, moved, peak, bandwidths):
    return min(peak, operations / moved[-1] * bandwidths[-1]), peak / bandwidths


def roof_e(operations, moved, peak, bandwidths):
    return operations / (operations / peak + (moved / bandwidths).sum()), peak / bandwidths


def roof_f(operations, moved, peak, bandwidths):
    return operations / max(operations / peak, *(moved / bandwidths)), [b / peak for b in bandwidths]


# -------------------------------------------------------------------------------------- lesson 12: pool_padded


def pool_in_a_loop(hidden, mask, d_vectors):
    vectors, d_hidden = np.zeros_like(d_vectors), np.zeros(hidden.shape)
    for row in range(len(hidden)):
        there = np.flatnonzero(mask[row])
        if len(there):
            vectors[row] = hidden[row, there].mean(axis=0)
            d_hidden[row, there] = d_vectors[row] / len(there)
    return vectors, d_hidden


def gradient_of(mask, d_vectors, count):
    return mask[:, :, None] * (d_vectors / np.maximum(count, 1))[:, None]


def pool_a(hidden, mask, d_vectors):
    count = mask.sum(1)[:, None]
    sums = np.einsum("bth,bt->bh", hidden, mask.astype(float))
    return sums / np.maximum(count, 1), gradient_of(mask, d_vectors, count)


def pool_b(hidden, mask, d_vectors):
    count = mask.sum(1)[:, None]
    return [h[m].sum(0) / len(h[m]) for h, m in zip(hidden, mask, strict=True)], gradient_of(mask, d_vectors, count)


def pool_c(hidden, mask, d_vectors):
    count = mask.sum(1)[:, None]
    return [h[m].sum(0) for h, m in zip(hidden, mask, strict=True)], gradient_of(mask, d_vectors, count)


def pool_d(hidden, mask, d_vectors):
    vectors, _ = pool_in_a_loop(hidden, mask, d_vectors)
    return vectors, np.einsum("bt,bh->bth", mask.astype(float), d_vectors)


def pool_e(hidden, mask, d_vectors):
    vectors, _ = pool_in_a_loop(hidden, mask, d_vectors)
    return vectors, np.repeat((d_vectors / np.maximum(mask.sum(1), 1)[:, None])[:, None], mask.shape[1], axis=1)


# ----------------------------------------------------------------------------------- lesson 12: replace_tokens


def replace_one_by_one(token_ids, chosen, logits, dice):
    seen, row = list(token_ids), 0
    for i in np.flatnonzero(chosen):
        p = np.exp(logits[row] - logits[row].max())
        p, total, piece = p / p.sum(), 0.0, 0
        while (total := total + p[piece]) <= dice[row]:
            piece += 1
        seen[i], row = piece, row + 1
    return np.array(seen), [int(a != b) for a, b in zip(seen, token_ids, strict=True)]


def electra_a(token_ids, chosen, logits, dice):
    return replace_one_by_one(token_ids, chosen, logits, dice)[0], np.where(chosen, 1, 0)


def electra_b(token_ids, chosen, logits, dice):
    seen, labels = replace_one_by_one(token_ids, chosen, logits, dice)
    return seen, [1 - label for label in labels]


def electra_c(token_ids, chosen, logits, dice):
    seen, labels = replace_one_by_one(token_ids, chosen, logits, dice)
    return seen, np.array(labels)[chosen]


def electra_d(token_ids, chosen, logits, dice):
    seen = token_ids.copy()
    for row, i in enumerate(np.flatnonzero(chosen)):
        seen[i] = np.argmax(logits[row])
    return seen, (seen != token_ids) * 1


def electra_e(token_ids, chosen, logits, dice):
    seen = token_ids.copy()
    for row, i in enumerate(np.flatnonzero(chosen)):
        p = np.exp(logits[row] - logits[row].max())
        seen[i] = np.searchsorted(np.cumsum(p / p.sum()), dice[row])
    return seen, (seen != token_ids) * 1


# ------------------------------------------------------------------------------------- lesson 10: three steps

TILE = """
__global__ void mine(const float* Q, const float* K, float* S, int T) {
    __shared__ float tile[32][4];
    int t = threadIdx.x, base = 32 * blockIdx.x;
    for (int n = t; n < COUNT; n += 32) tile[n / 4][n % 4] = K[FROM + n];
    BARRIER
    for (int j = 31; j >= 0; j--) {
        float s = 0;
        for (int d = 0; d < 4; d++) s PLUS tile[j][d] * Q[MINE + d];
        S[t * WIDTH + base + j] = s;
    }
}
"""


def tile_source(count="128", start="4 * base", barrier="__syncthreads();", plus="+=", mine="4 * t", width="T"):
    names = ("COUNT", count), ("FROM", start), ("BARRIER", barrier), ("PLUS", plus), ("MINE", mine), ("WIDTH", width)
    source = TILE
    for word, text in names:
        source = source.replace(word, text)
    return source


EACH_READS_K = """
__global__ void mine(const float* Q, const float* K, float* S, int T) {
    int t = threadIdx.x, base = 32 * blockIdx.x;
    for (int j = base; j < base + 32; j++) {
        float s = 0;
        for (int d = 0; d < 4; d++) s += K[4 * j + d] * Q[4 * t + d];
        S[t * T + j] = s;
    }
}
"""

KEY = """
__global__ void mine(const float* Q, const float* K, const float* V, float* O, int T) {
    int me = threadIdx.x + 32 * blockIdx.x;
    float o[4] = {}, m = LOW, z = 0;
    for (const float *k = K, *v = V; k < K + 4 * T; k += 4, v += 4) {
        float s = 0;
        for (int d = 0; d < 4; d++) s += Q[4 * me + d] * k[d];
        float n = s > m ? s : m, c = __expf(m - n), e = __expf(s - n);
        for (int d = 0; d < 4; d++) o[d] = e * v[d] + o[d] * SHRINK;
        z = e + z * FALL;
        NEXT
    }
    for (int d = 0; d < 4; d++) O[4 * me + d] = o[d] DIVIDED;
}
"""


def key_source(low="-1e30f", shrink="c", fall="c", following="m = n;", divided="/ z"):
    names = ("LOW", low), ("SHRINK", shrink), ("FALL", fall), ("NEXT", following), ("DIVIDED", divided)
    source = KEY
    for word, text in names:
        source = source.replace(word, text)
    return source


KEYS_TWICE = """
__global__ void mine(const float* Q, const float* K, const float* V, float* O, int T) {
    int me = threadIdx.x + 32 * blockIdx.x;
    float o[4] = {}, m = -1e30f, z = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int j = 0; j < T; j++) {
            float s = 0;
            for (int d = 0; d < 4; d++) s += Q[4 * me + d] * K[4 * j + d];
            if (pass == 0) { m = max(m, s); continue; }
            z += expf(s - m);
            for (int d = 0; d < 4; d++) o[d] += expf(s - m) * V[4 * j + d];
        }
    for (int d = 0; d < 4; d++) O[4 * me + d] = o[d] / z;
}
"""

TAIL = """
__global__ void mine(const float* Q, const float* K, float* M, int T) {
    __shared__ float tile[128];
    int t = threadIdx.x, me = 32 * blockIdx.x + t, tiles = TILES;
    EARLY
    float m = LOW;
    for (int b = 0; b < tiles; b++) {
        FIRST
        for (int n = t; n < 128; n += 32) tile[n] = THERE ? K[128 * b + n] : 0.0f;
        __syncthreads();
        if (me < T)
            for (int j = 0; j < COUNT; j++) {
                float s = 0;
                for (int d = 0; d < 4; d++) s += Q[4 * me + d] * tile[4 * j + d];
                m = s > m ? s : m;
            }
    }
    if (me < T) M[me] = m;
}
"""


def tail_source(
    tiles="(T + 31) / 32",
    early="",
    low="-1e30f",
    first="__syncthreads();",
    there="128 * b + n < 4 * T",
    count="min(32, T - 32 * b)",
):
    names = ("TILES", tiles), ("EARLY", early), ("LOW", low), ("FIRST", first), ("THERE", there), ("COUNT", count)
    source = TAIL
    for word, text in names:
        source = source.replace(word, text)
    return source


WRONG = {
    "choose_tokens": [
        (choose_a, "its own die"),
        (choose_b, "never chosen"),
        (choose_c, "Only first pieces"),
        (choose_d, "*any* of its dice"),
    ],
    "roofline": [
        (roof_a, "min, not max"),
        (roof_b, "Memory is a limit"),
        (roof_c, "never exceeds the peak"),
        (roof_d, "Only the last level"),
        (roof_e, "add up the times"),
        (roof_f, "not the inverse"),
    ],
    "pool_padded": [
        (pool_a, "0 times NaN"),
        (pool_b, "0 / 0"),
        (pool_c, "long vectors"),
        (pool_d, "share of 1 / count"),
        (pool_e, "Padding gets a gradient"),
    ],
    "replace_tokens": [
        (electra_a, "may draw the original"),
        (electra_b, "labels are inverted"),
        (electra_c, "Every token"),
        (electra_d, "most probable"),
        (electra_e, "exceeded"),
    ],
}
RIGHT = {
    "choose_tokens": [choose_one_by_one],
    "roofline": [roof_of_times],
    "pool_padded": [pool_in_a_loop],
    "replace_tokens": [replace_one_by_one],
}
KERNELS = {
    "flash_tile": [
        (tile_source(start="0"), "All blocks load the first tile"),
        (tile_source(barrier=""), "barrier is missing"),
        (tile_source(count="32"), "no thread has written"),
        (tile_source(plus="="), "sum"),
        (tile_source(width="32"), "Two blocks"),
    ],
    "flash_key": [
        (key_source(shrink="1"), "the context accumulated"),
        (key_source(fall="1"), "the denominator accumulated"),
        (key_source(low="0"), "minus infinity"),
        (key_source(divided=""), "do not divide"),
        (key_source(following=""), "never set maximum"),
    ],
    "flash_tail": [
        (tail_source(first=""), "barrier is missing"),
        (tail_source(low="0"), "far below all scores"),
        (tail_source(count="32"), "beyond the end"),
        (tail_source(there="true"), "45 is not a multiple of 32"),
        (tail_source(early="if (me >= T) return;"), "return early"),
        (tail_source(tiles="T < 32 ? 1 : T / 32"), "last tile are left out"),
    ],
}
RIGHT_KERNELS = {"flash_tile": [tile_source()], "flash_key": [key_source()], "flash_tail": [tail_source()]}
ABOUT = {"flash_tile": [(EACH_READS_K, "32 times")], "flash_key": [(KEYS_TWICE, "2 times")]}  # numbers are right
