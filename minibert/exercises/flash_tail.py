"""Exercise of lesson 10: a last tile that is not full, the third of three steps to flash attention as a kernel."""

from collections.abc import Iterator

import numpy as np

from minibert.exercises.exercise import Mistake, add
from minibert.exercises.flash import NOT_SCALED
from minibert.exercises.flash_tile import TILE, D, arguments, normal, times_read
from minibert.exercises.kernels import KernelExercise, Launch, Observed, busiest, judge_kernel

TAIL = """__global__ void largest(const float* q, const float* k, float* maxima, int T) {
    const int D = 4, TILE = 32;
    __shared__ float keys[TILE * D];
    int query = blockIdx.x * TILE + threadIdx.x;
    float maximum = -1e30f;
    for (int first = 0; first < T; first += TILE) {
        int row = first + threadIdx.x;
        __syncthreads();
        for (int d = 0; d < D && row < T; d++) keys[threadIdx.x * D + d] = k[row * D + d];
        __syncthreads();
        for (int j = 0; j < TILE && first + j < T && query < T; j++) {
            float score = 0;
            for (int d = 0; d < D; d++) score += q[query * D + d] * keys[j * D + d];
            maximum = fmaxf(maximum, score);
        }
    }
    if (query < T) maxima[query] = maximum;
}
"""


def tail_launches() -> Iterator[Launch]:
    for number, (what, tokens, shift) in enumerate(
        (
            ("64 tokens", 64, 0),
            ("45 tokens", 45, 0),
            ("3 tokens", 3, 0),
            ("64 tokens, all scores below 0", 64, 5),
            ("35 tokens, all scores below 0", 35, 5),
        )
    ):
        q, k = normal(10 + number, (tokens, D), (tokens, D))
        q, k = q - np.float32(shift), k + np.float32(shift)
        yield Launch(
            what,
            -(-tokens // TILE),
            TILE,
            arguments(q, k, result=(tokens,), count=tokens),
            2,
            (q @ k.T).max(axis=1),
        )


def tiles_once(launch: Launch, seen: Observed) -> str | None:
    """A block reads each key once, and each thread has one query."""
    if (times := times_read(seen, 1)) > 1:
        return (
            f"The numbers are right, but a block reads each key {times} times from global memory.  Its threads should "
            "load each tile together into shared memory, once, and then all read it there."
        )
    if (most := busiest(seen.of(launch.output))) > 1:
        return f"The numbers are right, but one thread computes {most} queries: let each thread have its own."
    return None


add(
    KernelExercise(
        "flash_tail",
        10,
        "flash attention, step 3: the last tile, which may not be full",
        TAIL,
        tail_launches,
        outputs=("the maxima",),
        about=tiles_once,
        observed=1,
        tolerance=1e-5,
        judge=judge_kernel,
        kinds=(
            (
                "race",
                "A barrier is missing.  Each round needs two: one before the tile is loaded, because slow threads may "
                "still be reading the old tile, and one after, to wait until the whole tile is there.",
            ),
            (
                "global race",
                "Two threads write the same maximum: each thread has its own query, and each of the blocks before its "
                "own has 32 queries.",
            ),
            (
                "out of bounds",
                "45 is not a multiple of 32: the last tile and the last block have rows that do not exist.",
            ),
            (
                "uninitialised",
                "A thread reads an element of the tile that no thread has written: the last tile may have fewer than "
                "32 keys.",
            ),
            (
                "divergence",
                "All threads of a block must reach __syncthreads(), including those without a query: they cannot "
                "return early, since their keys are needed, too.",
            ),
        ),
        mistakes=(
            Mistake(
                "Begin with a maximum far below all scores, such as -1e30f: all scores may be negative.",
                TAIL.replace("maximum = -1e30f", "maximum = 0"),
            ),
            Mistake(
                "Keys beyond the end take part with a score of 0: use only keys with first + j < T.",
                TAIL.replace(
                    "d < D && row < T; d++) keys[threadIdx.x * D + d] = k[row * D + d]",
                    "d < D; d++) keys[threadIdx.x * D + d] = row < T ? k[row * D + d] : 0",
                ).replace("j < TILE && first + j < T", "j < TILE"),
            ),
            Mistake(
                "The keys of the last tile are left out when T is not a multiple of 32.",
                TAIL.replace("first < T; first += TILE", "first + TILE <= T || (T < TILE && first < T); first += TILE"),
            ),
            Mistake(
                "Each block sees only its own tile of keys, but its queries attend to all keys: use a loop over the "
                "tiles.",
                TAIL.replace(
                    "int first = 0; first < T; first += TILE", "int first = blockIdx.x * TILE, i = 0; i < 1; i++"
                ),
            ),
            Mistake(
                "Only the first tile counts: the loop over the tiles has to reach T.",
                TAIL.replace("int first = 0; first < T; first += TILE", "int first = 0; first < 1; first++"),
            ),
            Mistake(
                "The maximum is only that of the last tile: set it to -1e30f once, before the loop over the tiles.",
                TAIL.replace("        int row", "        maximum = -1e30f;\n        int row"),
            ),
            Mistake(NOT_SCALED, TAIL.replace("= maximum;\n}", "= maximum / sqrtf(D);\n}")),
        ),  # fmt: skip
        hints=(
            "The loop over the tiles is for (int first = 0; first < T; first += 32); all threads go through it, also "
            "those whose query does not exist.",
            "In the last round, thread t has no key to load if first + t >= T.  It still reaches both barriers.",
            "When the tile is there, only the keys with first + j < T take part; and only a thread whose query exists "
            "reads it, and writes its maximum.",
        ),
        note="Three conditions, on the key to load, the key to use, and the query: the whole kernel has the same.",
    )
)
