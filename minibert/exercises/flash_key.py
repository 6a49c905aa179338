"""Exercise of lesson 10: one key after the other, the second of three steps to flash attention as a kernel."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from minibert.exercises.exercise import Mistake, add
from minibert.exercises.flash import LOWEST, NOT_SCALED
from minibert.exercises.flash_tile import D, arguments, normal
from minibert.exercises.kernels import KernelExercise, Launch, Observed, busiest, judge_kernel

KEY = """__global__ void one_key(const float* q, const float* k, const float* v, float* context, int T) {
    const int D = 4;
    int query = blockIdx.x * blockDim.x + threadIdx.x;
    float sums[D] = {0, 0, 0, 0}, maximum = -1e30f, total = 0;
    for (int j = 0; j < T; j++) {
        float score = 0;
        for (int d = 0; d < D; d++) score += q[query * D + d] * k[j * D + d];
        float higher = fmaxf(maximum, score), factor = expf(maximum - higher), weight = expf(score - higher);
        total = total * factor + weight;
        for (int d = 0; d < D; d++) sums[d] = sums[d] * factor + weight * v[j * D + d];
        maximum = higher;
    }
    for (int d = 0; d < D; d++) context[query * D + d] = sums[d] / total;
}
"""


def softmax_of(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def key_launches() -> Iterator[Launch]:
    for number, (what, queries, keys, shift) in enumerate(
        (
            ("32 queries, 5 keys", 32, 5, (0, 0)),
            ("64 queries, 7 keys", 64, 7, (0, 0)),
            ("one key", 32, 1, (0, 0)),
            ("scores near -200", 32, 4, (-7, 7)),
            ("scores near 200", 32, 4, (7, 7)),
        )
    ):
        q, k, v = normal(number, (queries, D), (keys, D), (keys, D))
        q, k = q + np.float32(shift[0]), k + np.float32(shift[1])
        yield Launch(
            what,
            queries // 32,
            32,
            arguments(q, k, v, result=q.shape, count=keys),
            3,
            (softmax_of(q.astype(float) @ k.T.astype(float)) @ v).astype(np.float32),
        )


def one_pass(launch: Launch, seen: Observed) -> str | None:
    """A thread has one query, and reads each key once."""
    if (most := busiest(seen.of(launch.output))) > D:
        return f"The numbers are right, but one thread computes {most // D} queries: let each thread have its own."
    reads = Counter((one.block, one.thread, one.element) for one in seen.of(1, "read"))
    if (times := max(reads.values(), default=0)) > 1:
        return (
            f"The numbers are right, but a thread reads each key {times} times.  Update maximum, denominator and sums "
            "with each key as it comes; then one pass is enough."
        )
    return None


RISING = "When the maximum rises, {} accumulated so far must be multiplied by the factor exp(old - new maximum), too."

add(
    KernelExercise(
        "flash_key",
        10,
        "flash attention, step 2: one key at a time",
        KEY,
        key_launches,
        outputs=("context",),
        about=one_pass,
        observed=1,
        tolerance=1e-4,
        judge=judge_kernel,
        kinds=(
            (
                "global race",
                "Two threads write the same row of context: query blockIdx.x * blockDim.x + threadIdx.x belongs to one "
                "thread only.",
            ),
            ("out of bounds", "An index is too large: k and v have T rows of 4, q and context a row for each thread."),
        ),
        mistakes=(
            Mistake(RISING.format("the context"), KEY.replace("sums[d] * factor + weight", "sums[d] + weight")),
            Mistake(RISING.format("the denominator"), KEY.replace("total * factor + weight", "total + weight")),
            Mistake(
                RISING.format("both the context and the denominator"),
                KEY.replace("sums[d] * factor", "sums[d]").replace("total * factor", "total"),
            ),
            Mistake(LOWEST, KEY.replace("maximum = -1e30f", "maximum = 0")),
            Mistake(
                "You do not divide the context by the denominator at the end.",
                KEY.replace("sums[d] / total", "sums[d]"),
            ),
            Mistake(
                "exp overflows when scores are large: subtract the running maximum from the scores before exp.",
                KEY.replace("float higher = fmaxf(maximum, score)", "float higher = 0"),
            ),
            Mistake(
                "You never set maximum to the new maximum, so the sums so far are multiplied by exp(-infinity), "
                "which is 0.",
                KEY.replace("        maximum = higher;\n", ""),
            ),
            Mistake(
                "The factor is inverted: it is exp(old maximum - new maximum), which is at most 1.",
                KEY.replace("expf(maximum - higher)", "(j ? expf(higher - maximum) : 0)"),
            ),
            Mistake(
                "You subtract each key's own score, so every weight is 1: subtract the largest score so far.",
                KEY.replace("fmaxf(maximum, score)", "score").replace("expf(maximum - higher)", "1"),
            ),
            Mistake(
                NOT_SCALED, KEY.replace("float higher = fmaxf", "score /= sqrtf(D);\n        float higher = fmaxf")
            ),
        ),
        hints=(
            "Before the loop, the maximum is -1e30f, and the denominator and the four sums are 0.",
            "For each key: compute the score; the new maximum; the factor exp(old maximum - new maximum); the weight "
            "exp(score - new maximum).",
            "Multiply the denominator and the sums by the factor, add the weight and the weight times the value, and "
            "set the maximum to the new one.  Divide once, after the loop.",
        ),
        note="These lines are the heart of the whole kernel; only where the keys come from will change.",
    )
)
