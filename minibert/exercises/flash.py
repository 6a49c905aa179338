"""Exercises of lesson 10: flash attention, and half precision."""

from collections.abc import Callable, Iterator

import numpy as np

from minibert.exercises.exercise import Exercise, Mistake, Try, add
from minibert.exercises.kernels import KernelExercise, Launch, judge_kernel


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---------------------------------------------------------------------------------------- online_softmax


def online_attention(query: np.ndarray, key: np.ndarray, value: np.ndarray, tile: int) -> np.ndarray:
    """One query [D], keys and values [T, D], `tile` of them at a time; scores are not scaled.  Returns context [D]."""
    maximum, total, context = -np.inf, 0.0, np.zeros(value.shape[1])
    for first in range(0, len(key), tile):
        scores = key[first : first + tile] @ query
        higher = max(maximum, scores.max())
        factor = np.exp(maximum - higher)
        weights = np.exp(scores - higher)
        total = total * factor + weights.sum()
        context = context * factor + weights @ value[first : first + tile]
        maximum = higher
    return context / total


def online_with(
    *,
    total: bool = True,
    context: bool = True,
    tail: bool = True,
    running: bool = True,
    lowest: float = -np.inf,
    divided: bool = True,
    upside_down: bool = False,
) -> Callable:
    def wrong(query, key, value, tile):
        maximum, sums, out = lowest, 0.0, np.zeros(value.shape[1])
        last = len(key) if tail or len(key) < tile else len(key) // tile * tile
        for first in range(0, last, tile):
            scores = key[first : first + tile] @ query
            higher = max(maximum, scores.max()) if running else scores.max()
            factor = np.exp(maximum - higher) if maximum > -np.inf else 0
            if upside_down and maximum > -np.inf:
                factor = 1 / factor
            weights = np.exp(scores - higher)
            sums = sums * (factor if total else 1) + weights.sum()
            out = out * (factor if context else 1) + weights @ value[first : first + tile]
            maximum = higher
        return out / sums if divided else out

    return wrong


def divided_in_each_tile(query: np.ndarray, key: np.ndarray, value: np.ndarray, tile: int) -> np.ndarray:
    maximum, sums, out = -np.inf, 0.0, np.zeros(value.shape[1])
    for first in range(0, len(key), tile):
        scores = key[first : first + tile] @ query
        higher = max(maximum, scores.max())
        factor, weights = np.exp(maximum - higher), np.exp(scores - higher)
        sums = sums * factor + weights.sum()
        out = (out * factor + weights @ value[first : first + tile]) / sums
        maximum = higher
    return out


def forgotten_maximum(query: np.ndarray, key: np.ndarray, value: np.ndarray, tile: int) -> np.ndarray:
    """The maximum is never kept: each tile subtracts its own, as if it were the first."""
    sums, out = 0.0, np.zeros(value.shape[1])
    for first in range(0, len(key), tile):
        scores = key[first : first + tile] @ query
        weights = np.exp(scores - scores.max())
        sums, out = weights.sum(), weights @ value[first : first + tile]
    return out / sums


LOWEST = (
    "Begin with a maximum of minus infinity, and do not let positions beyond the last key raise it.  "
    "Otherwise, when all scores are far below 0, both sums stay 0."
)
NOT_SCALED = "The scores are not scaled in this exercise: do not divide by sqrt(D)."


def without_maximum(query: np.ndarray, key: np.ndarray, value: np.ndarray, tile: int) -> np.ndarray:
    weights = np.exp(key @ query)
    return weights @ value / weights.sum()


def online_tries() -> Iterator[Try]:
    r = random(0)
    for what, keys, width, tile, size in (
        ("8 keys, tiles of 4", 8, 3, 4, 1), ("7 keys, tiles of 3", 7, 4, 3, 1), ("tiles of one key", 5, 2, 1, 1),
        ("large scores", 6, 4, 2, 40),
    ):  # fmt: skip
        yield Try(
            what,
            (
                size * r.standard_normal(width),
                size * r.standard_normal((keys, width)),
                r.standard_normal((keys, width)),
                tile,
            ),
        )
    low = (np.full(3, -20.0), 16 + r.standard_normal((6, 3)), r.standard_normal((6, 3)), 2)
    yield Try("scores near -1,000", low)


add(
    Exercise(
        "online_attention",
        10,
        "the softmax that never sees all scores at once",
        online_attention,
        online_tries,
        outputs=("context",),
        mistakes=(
            Mistake(
                "When a higher score arrives, the context accumulated so far must shrink along with the "
                "denominator: multiply it by exp(old maximum - new maximum).",
                online_with(context=False),
            ),
            Mistake(
                "When a higher score arrives, the denominator accumulated so far must shrink, too: multiply it by "
                "exp(old maximum - new maximum).",
                online_with(total=False),
            ),
            Mistake(
                "When a higher score arrives, both sums accumulated so far must shrink: multiply them by exp(old "
                "maximum - new maximum).  (If you already do that, make sure not to overwrite the old maximum "
                "before you compute the factor.)",
                online_with(total=False, context=False),
            ),
            Mistake(LOWEST, online_with(lowest=0.0)),
            Mistake(NOT_SCALED, lambda q, k, v, tile: online_attention(q / np.sqrt(len(q)), k, v, tile)),
            Mistake(
                "The new maximum is the larger of the old maximum *and* the maximum of the tile.",
                online_with(running=False),
            ),
            Mistake(
                "The factor is inverted: it is exp(old maximum - new maximum), which is at most 1.",
                online_with(upside_down=True),
            ),
            Mistake("You never divide the context by the denominator.", online_with(divided=False)),
            Mistake(
                "You divide in every tile, so earlier results are divided repeatedly.  Divide once, at the end, "
                "when the denominator is complete.",
                divided_in_each_tile,
            ),
            Mistake(
                "Only the last tile counts: you never update the old maximum, so the sums so far are multiplied by "
                "exp(-infinity), which is 0.  Set it to the new maximum at the end of each round.",
                forgotten_maximum,
            ),
            Mistake("The last keys are left out when T is not a multiple of the tile.", online_with(tail=False)),
            Mistake(
                "exp overflows when scores are large: keep a running maximum, and subtract it from the scores "
                "before exp.",
                without_maximum,
            ),
        ),
        hints=(
            "Keep three things from tile to tile: the highest score, the denominator, and the context before division.",
            "In each tile, compute new = max(old, scores.max()) and factor = exp(old - new), multiply both "
            "sums by factor, and then add what the tile contributes.",
            "Divide the context by the denominator once, at the end.",
        ),
        note="In the package, `soften` in minibert/ops/gpu/attention.cu does this for eight scores at a time.",
    )
)


# --------------------------------------------------------------------------------------- recompute_scores


def flash_d_scores(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    d_context: np.ndarray,
    log_sums: np.ndarray,
    delta: np.ndarray,
) -> np.ndarray:
    """One tile, scores unscaled: query, d_context [Tq, D]; key, value [Tk, D]; log_sums, delta [Tq].

    log_sums: log of each query's softmax denominator over *all* keys; delta: d_context . context of each query.
    Returns d_scores [Tq, Tk] of this tile.
    """
    probabilities = np.exp(query @ key.T - log_sums[:, None])
    return probabilities * (d_context @ value.T - delta[:, None])


def local_softmax(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    d_context: np.ndarray,
    log_sums: np.ndarray,
    delta: np.ndarray,
) -> np.ndarray:
    scores = query @ key.T
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return p * (d_context @ value.T - delta[:, None])


def local_mean(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    d_context: np.ndarray,
    log_sums: np.ndarray,
    delta: np.ndarray,
) -> np.ndarray:
    p = np.exp(query @ key.T - log_sums[:, None])
    d_p = d_context @ value.T
    return p * (d_p - (p * d_p).sum(axis=1, keepdims=True))


def tile_tries() -> Iterator[Try]:
    r = random(1)
    for what, queries, keys, width, first, last in (
        ("keys 2 to 6 of 8", 3, 8, 4, 2, 6),
        ("the last key", 2, 5, 3, 4, 5),
        ("as many keys as queries", 3, 8, 4, 0, 3),
    ):
        q, k, v, d = (r.standard_normal((n, width)) for n in (queries, keys, keys, queries))
        scores = q @ k.T
        log_sums = np.log(np.exp(scores).sum(axis=1))
        context = np.exp(scores - log_sums[:, None]) @ v
        yield Try(what, (q, k[first:last], v[first:last], d, log_sums, (d * context).sum(axis=1)))


add(
    Exercise(
        "flash_d_scores",
        10,
        "the backward pass of a tile, from two numbers for each row",
        flash_d_scores,
        tile_tries,
        outputs=("d_scores",),
        mistakes=(
            Mistake(
                "You normalise over the keys of this tile only.  The denominator is the sum over all keys, and its "
                "logarithm is in log_sums.",
                local_softmax,
            ),
            Mistake(
                "The mean must cover *all* keys of the query, not only those of this tile; delta holds exactly "
                "that mean.",
                local_mean,
            ),
            Mistake(
                NOT_SCALED,
                lambda q, k, v, d, s, e: flash_d_scores(q / np.sqrt(q.shape[1]), k, v, d, s, e),
            ),
            Mistake(
                "The mean is missing: subtract delta from each query's d_probabilities.",
                lambda q, k, v, d, s, e: np.exp(q @ k.T - s[:, None]) * (d @ v.T),
            ),
            Mistake(
                "Subtract delta from d_probabilities before you multiply: compute p * (d_p - delta), not p * d_p - "
                "delta.",
                lambda q, k, v, d, s, e: np.exp(q @ k.T - s[:, None]) * (d @ v.T) - e[:, None],
            ),
            Mistake(
                "The factor of the probabilities is missing: multiply by them to get d_scores.",
                lambda q, k, v, d, s, e: d @ v.T - e[:, None],
            ),
        ),
        hints=(
            "The probabilities are exp(scores - log_sums[:, None]): you need neither a maximum nor a sum.",
            "As in lesson 4, d_scores = p * (d_p - mean); here, the mean is delta.",
        ),
        note=(
            "The sum of p * d_p over all keys equals d_context . context, so one number for each query "
            "replaces a row of T numbers."
        ),
    )
)


# --------------------------------------------------------------------------------------------- loss_scale


def next_scale(scale: float, good_steps: int, norm: float, interval: int) -> tuple[float, int]:
    """The loss scale, the good steps since it changed, and the gradients' norm.  Returns the first two after this step.

    A step whose norm is not finite halves the scale; `interval` good steps in a row double it.
    """
    if not np.isfinite(norm):
        return scale / 2, 0
    if good_steps + 1 >= interval:
        return scale * 2, 0
    return scale, good_steps + 1


def scale_with(*, halve: bool = True, reset: bool = True, double: bool = True, keep_counting: bool = False) -> Callable:
    def wrong(scale, good_steps, norm, interval):
        if not np.isfinite(norm):
            return (scale / 2 if halve else scale), (0 if reset else good_steps)
        if good_steps + 1 >= interval and double:
            return scale * 2, (good_steps + 1 if keep_counting else 0)
        return scale, good_steps + 1

    return wrong


add(
    Exercise(
        "next_scale",
        10,
        "dynamic loss scaling",
        next_scale,
        lambda: [
            Try("a good step", (1024.0, 3, 2.5, 10)),
            Try("a norm that is infinite", (1024.0, 3, float("inf"), 10)),
            Try("a NaN norm", (1024.0, 9, float("nan"), 10)),
            Try("the ninth good step", (1024.0, 8, 2.5, 10)),
            Try("the tenth good step", (1024.0, 9, 2.5, 10)),
            Try("more good steps than the interval, which was longer before", (1024.0, 12, 2.5, 10)),
            Try("an interval of 2,000", (65536.0, 9, 0.1, 2000)),
            Try("a large norm that is finite", (1024.0, 3, 1e5, 10)),
        ],
        outputs=("scale", "good steps"),
        mistakes=(
            Mistake("After an overflow, the scale must fall to half its value.", scale_with(halve=False)),
            Mistake("After an overflow, the count of good steps must start again at 0.", scale_with(reset=False)),
            Mistake(
                "After `interval` good steps in a row, the scale doubles, because it may have become too small.  "
                "(`interval` is an argument.)",
                scale_with(double=False),
            ),
            Mistake(
                "The scale doubles one step late: the current step is a good one, too, and counts.",
                lambda s, g, n, i: (s * 2, 0) if np.isfinite(n) and g >= i else next_scale(s, g, n, max(i, g + 2)),
            ),
            Mistake(
                "When the scale has doubled, the count of good steps must start again at 0.",
                scale_with(keep_counting=True),
            ),
            Mistake(
                "NaN is an overflow as well as infinity: use np.isfinite.",
                lambda s, g, n, i: (s / 2, 0) if n == np.inf else next_scale(s, g, 1.0, i),
            ),
            Mistake(
                "Infinity is an overflow as well as NaN: use np.isfinite.",
                lambda s, g, n, i: (s / 2, 0) if np.isnan(n) else next_scale(s, g, 1.0, i),
            ),
            Mistake(
                "The norm is a float32 number, so only infinity and NaN are overflows; a norm above 65,504 is not.",
                lambda s, g, n, i: next_scale(s, g, n if n <= 65504 else np.inf, i),
            ),
        ),
        hints=(
            "There are three cases: the norm is not finite; the step is the last of `interval` good steps; any "
            "other step.",
        ),
        note=(
            "In the package, this is update_scale in minibert/ops/gpu/optimizer.cu, which runs on the device "
            "without waiting for the CPU."
        ),
    )
)


# ------------------------------------------------------------------------------------------- flash_kernel

FLASH = """__global__ void flash(const float* q, const float* k, const float* v, float* context, int T) {
    const int D = 4, TILE = 32;
    __shared__ float keys[TILE * D], values[TILE * D];
    int query = blockIdx.x * TILE + threadIdx.x;
    float mine[D], sums[D] = {0, 0, 0, 0}, maximum = -1e30f, total = 0;
    for (int d = 0; d < D; d++) mine[d] = query < T ? q[query * D + d] : 0;
    for (int first = 0; first < T; first += TILE) {
        __syncthreads();
        for (int d = 0; d < D; d++) {
            int row = first + threadIdx.x;
            keys[threadIdx.x * D + d] = row < T ? k[row * D + d] : 0;
            values[threadIdx.x * D + d] = row < T ? v[row * D + d] : 0;
        }
        __syncthreads();
        for (int j = 0; j < TILE && first + j < T; j++) {
            float score = 0;
            for (int d = 0; d < D; d++) score += mine[d] * keys[j * D + d];
            float higher = fmaxf(maximum, score), factor = expf(maximum - higher), weight = expf(score - higher);
            total = total * factor + weight;
            for (int d = 0; d < D; d++) sums[d] = sums[d] * factor + weight * values[j * D + d];
            maximum = higher;
        }
    }
    if (query < T)
        for (int d = 0; d < D; d++) context[query * D + d] = sums[d] / total;
}
"""


def flash_launches() -> Iterator[Launch]:
    r = random(2)
    for what, tokens, shift in (
        ("64 tokens", 64, (0, 0)),
        ("45 tokens", 45, (0, 0)),
        ("3 tokens", 3, (0, 0)),
        ("scores near -200", 5, (-7, 7)),
        ("scores near 200", 5, (7, 7)),
    ):
        q, k, v = (r.standard_normal((tokens, 4)).astype(np.float32) for _ in range(3))
        q, k = q + np.float32(shift[0]), k + np.float32(shift[1])
        scores = q.astype(float) @ k.T.astype(float)
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        yield Launch(
            what,
            -(-tokens // 32),
            32,
            lambda q=q, k=k, v=v, n=tokens: (q.copy(), k.copy(), v.copy(), np.zeros_like(q), np.int32(n)),
            3,
            (p / p.sum(axis=1, keepdims=True) @ v).astype(np.float32),
        )


add(
    KernelExercise(
        "flash_kernel",
        10,
        "flash attention as a kernel",
        FLASH,
        flash_launches,
        outputs=("context",),
        tolerance=1e-4,
        judge=judge_kernel,
        kinds=(
            (
                "race",
                "A barrier is missing.  Each round needs two: one before the tile is loaded, because slow threads "
                "may still be reading the old tile, and one after, to wait until the whole tile is there.",
            ),
            (
                "global race",
                "Two threads write the same row of context: each thread has its own query, and each of the blocks "
                "before its own has 32 queries.",
            ),
            (
                "out of bounds",
                "45 is not a multiple of 32: the last tile and the last block have rows that do not exist.",
            ),
            ("uninitialised", "A thread reads an element of the tile that no thread has written."),
            ("divergence", "All threads of a block must reach __syncthreads(), including those without a query."),
        ),
        mistakes=(
            Mistake(
                "Keys beyond the end take part with a score of 0: use only keys with first + j < T.",
                FLASH.replace("j < TILE && first + j < T", "j < TILE"),
            ),
            Mistake(
                "When the maximum rises, the context accumulated so far must be multiplied by the factor, too.",
                FLASH.replace("sums[d] * factor + weight", "sums[d] + weight"),
            ),
            Mistake(
                "When the maximum rises, the denominator accumulated so far must be multiplied by the factor, too.",
                FLASH.replace("total * factor + weight", "total + weight"),
            ),
            Mistake(LOWEST, FLASH.replace("maximum = -1e30f", "maximum = 0")),
            Mistake("You do not divide the context by the denominator.", FLASH.replace("sums[d] / total", "sums[d]")),
            Mistake(
                "exp overflows when scores are large: keep a running maximum, and subtract it from the scores "
                "before exp.",
                FLASH.replace("float higher = fmaxf(maximum, score)", "float higher = 0"),
            ),
            Mistake(
                NOT_SCALED,
                FLASH.replace("float higher = fmaxf", "score /= sqrtf(D);\n            float higher = fmaxf"),
            ),
            Mistake(
                "Each block sees only its own tile of keys, but its queries attend to all keys: use a loop over "
                "the tiles.",
                FLASH.replace(
                    "int first = 0; first < T; first += TILE", "int first = blockIdx.x * TILE, i = 0; i < 1; i++"
                ),
            ),
            Mistake(
                "The keys of the last tile are left out when T is not a multiple of 32.",
                FLASH.replace(
                    "first < T; first += TILE", "first + TILE <= T || (T < TILE && first < T); first += TILE"
                ),
            ),
            Mistake(
                "You never set maximum to the new maximum, so the sums so far are multiplied by exp(-infinity), "
                "which is 0.",
                FLASH.replace("            maximum = higher;\n", ""),
            ),
        ),
        hints=(
            "Each thread keeps one query in registers; the 32 threads of the block load a tile of 32 keys and "
            "values together.",
            "For each key of the tile, compute the score, the new maximum, the factor, and the weight, as in "
            "online_attention.",
            "Threads whose query does not exist must still load their key, and reach the barriers.",
        ),
        note=(
            "In the package, this is in minibert/ops/gpu/attention.cu, where each thread computes small tiles "
            "of the products in registers."
        ),
    )
)
