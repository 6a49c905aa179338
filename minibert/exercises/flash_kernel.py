"""Exercises of lesson 10: flash attention as a CUDA kernel."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from minibert.exercises.exercise import Mistake, add
from minibert.exercises.flash import LOWEST, NOT_SCALED, random
from minibert.exercises.kernels import KernelExercise, Launch, Observed, busiest, judge_kernel

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
            lambda q=q, k=k, v=v, n=tokens: (q.copy(), k.copy(), v.copy(), np.full_like(q, np.nan), np.int32(n)),
            3,
            (p / p.sum(axis=1, keepdims=True) @ v).astype(np.float32),
        )


def read_once(launch: Launch, seen: Observed) -> str | None:
    """Each block reads each key and value once, as a tile, and each thread has one query."""
    for name, array in (("key", 1), ("value", 2)):
        reads = Counter((one.block, one.element) for one in seen.of(array, "read"))
        times = max(reads.values(), default=0)
        if times >= launch.threads:
            return (
                f"The numbers are right, but a block reads each {name} {times} times from global memory.  Its threads "
                "should load each tile together into shared memory, once, and then all read it there."
            )
        if times > 1:
            return (
                f"The numbers are right, but a block reads each {name} {times} times from global memory.  With the "
                "running maximum, one pass over the tiles is enough."
            )
    most = busiest(seen.of(launch.output))
    if most > 4:
        return f"The numbers are right, but one thread computes {most // 4} queries: let each thread have its own."
    return None


add(
    KernelExercise(
        "flash_kernel",
        10,
        "flash attention as a kernel",
        FLASH,
        flash_launches,
        outputs=("context",),
        about=read_once,
        observed=1,
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
            "Begin with flash_tail: its loop over the tiles, its two barriers and its three conditions remain.",
            "The tile needs the values, too: a second array in shared memory, loaded in the same lines as the keys.",
            "In place of the maximum, put the update of flash_key: score, new maximum, factor, weight, denominator, "
            "sums.  Threads whose query does not exist must still load their key, and reach the barriers.",
        ),
        note=(
            "In the package, this is in minibert/ops/gpu/attention.cu, where each thread computes small tiles "
            "of the products in registers."
        ),
    )
)
