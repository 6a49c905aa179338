"""Exercise of lesson 10: a tile of keys in shared memory, the first of three steps to flash attention as a kernel."""

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from minibert.exercises.exercise import Mistake, add
from minibert.exercises.flash import NOT_SCALED, random
from minibert.exercises.kernels import KernelExercise, Launch, Observed, busiest, judge_kernel

D, TILE = 4, 32  # features of a key; keys in a tile, and threads in a block


def normal(seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    r = random(seed)
    return [r.standard_normal(shape).astype(np.float32) for shape in shapes]


def arguments(*given: np.ndarray, result: tuple[int, ...], count: int) -> Callable[[], tuple]:
    """() -> a launch's arguments: copies of the given arrays, an array of NaN for the result, and a number."""
    return lambda: (*(array.copy() for array in given), np.full(result, np.nan, np.float32), np.int32(count))


def times_read(seen: Observed, array: int) -> int:
    """How often a block reads an element of an argument, at most."""
    return max(Counter((one.block, one.element) for one in seen.of(array, "read")).values(), default=0)


LOAD = """__global__ void tile_scores(const float* q, const float* k, float* scores, int T) {
    const int D = 4, TILE = 32;
    __shared__ float keys[TILE * D];
    int first = blockIdx.x * TILE;
    for (int d = 0; d < D; d++) keys[threadIdx.x * D + d] = k[(first + threadIdx.x) * D + d];
    __syncthreads();
    for (int j = 0; j < TILE; j++) {
        float score = 0;
        for (int d = 0; d < D; d++) score += q[threadIdx.x * D + d] * keys[j * D + d];
        scores[threadIdx.x * T + first + j] = score;
    }
}
"""


def tile_launches() -> Iterator[Launch]:
    for what, tokens in (("one tile of 32 keys", 32), ("96 keys, 3 tiles", 96)):
        q, k = normal(tokens, (TILE, D), (tokens, D))
        yield Launch(
            what,
            tokens // TILE,
            TILE,
            arguments(q, k, result=(TILE, tokens), count=tokens),
            2,
            q @ k.T,
        )


def loaded_together(launch: Launch, seen: Observed) -> str | None:
    """A block reads each key once from global memory, shared among its threads; each thread has its own query."""
    if (times := times_read(seen, 1)) > 1:
        return (
            f"The numbers are right, but a block reads each key {times} times from global memory.  Let the threads "
            "load the tile into shared memory, once, and then all read it there."
        )
    if (most := busiest(seen.of(1, "read"))) > D:
        return (
            f"The numbers are right, but one thread loads {most // D} keys while others wait: let each of the 32 "
            "threads load its share of the tile."
        )
    if (most := busiest(seen.of(0, "read"))) > D:
        return (
            f"The numbers are right, but one thread reads {most // D} queries.  Let thread t have query t only: in the "
            "whole kernel, a query stays in its thread's registers."
        )
    return None


add(
    KernelExercise(
        "flash_tile",
        10,
        "flash attention, step 1: load a tile of keys",
        LOAD,
        tile_launches,
        outputs=("the scores",),
        about=loaded_together,
        observed=1,
        tolerance=1e-5,
        judge=judge_kernel,
        kinds=(
            (
                "block race",
                "Two blocks write the same score.  Block b has the keys from 32 * b on, so its scores are in the "
                "columns from 32 * b on; row t of the scores begins at t * T.",
            ),
            ("global race", "Two threads write the same score: thread t writes row t, which begins at t * T."),
            (
                "race",
                "A barrier is missing: a thread reads keys that other threads may not have loaded yet.  Put "
                "__syncthreads() between loading the tile and reading it.",
            ),
            (
                "uninitialised",
                "A thread reads an element of the tile that no thread has written: a tile has 32 keys of 4 features, "
                "so each of the 32 threads loads four numbers.",
            ),
            (
                "out of bounds",
                "An index is too large: k has T * 4 elements, q has 32 * 4, the tile has 32 * 4, and scores 32 * T.",
            ),
            ("divergence", "All threads of the block must reach __syncthreads()."),
        ),
        mistakes=(
            Mistake(
                "All blocks load the first tile: block b loads the keys from 32 * b on.",
                LOAD.replace("k[(first + threadIdx.x) * D + d]", "k[threadIdx.x * D + d]"),
            ),
            Mistake(
                "Only the last feature counts: a score is the *sum* of the products of all four features.",
                LOAD.replace("score += q", "score = q"),
            ),
            Mistake(
                "A key is written to the tile in one layout, and read in another: if feature d of key j is written to "
                "j * 4 + d, it must be read from there.",
                LOAD.replace("keys[j * D + d]", "keys[d * TILE + j]"),
            ),
            Mistake(
                "All threads use the first query: thread t has the query that begins at q + t * 4.",
                LOAD.replace("q[threadIdx.x * D + d]", "q[d]"),
            ),
            Mistake(
                NOT_SCALED,
                LOAD.replace("first + j] = score", "first + j] = score / sqrtf(D)"),
            ),
        ),
        hints=(
            "Key j of block b's tile is row 32 * b + j of k, which begins at k + (32 * b + j) * 4.",
            "Let thread t copy the four features of key t of the tile to keys[t * 4] and the three elements after it.  "
            "Then comes a barrier.",
            "After the barrier, thread t goes through all 32 keys of the tile.  The score of key j goes to "
            "scores[t * T + 32 * b + j].",
        ),
        note="A block reads each key once, for all its 32 queries; that is what the tile is for.",
    )
)
