"""An exercise of lesson 9: a product of two matrices, tile by tile."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from minibert.exercises.exercise import Mistake, add
from minibert.exercises.kernels import KernelExercise, Launch, Observed, busiest, judge_kernel

TILE = 8  # rows and columns of a block, of its threads and of its tiles

PRODUCT = """__global__ void product(const float* a, const float* b, float* c, int M, int K, int N) {
    __shared__ float tile_a[8][8], tile_b[8][8];
    int row = blockIdx.y * 8 + threadIdx.y, column = blockIdx.x * 8 + threadIdx.x;
    float sum = 0;
    for (int first = 0; first < K; first += 8) {
        int k_a = first + threadIdx.x, k_b = first + threadIdx.y;
        tile_a[threadIdx.y][threadIdx.x] = row < M && k_a < K ? a[row * K + k_a] : 0;
        tile_b[threadIdx.y][threadIdx.x] = k_b < K && column < N ? b[k_b * N + column] : 0;
        __syncthreads();
        for (int k = 0; k < 8; k++) sum += tile_a[threadIdx.y][k] * tile_b[k][threadIdx.x];
        __syncthreads();
    }
    if (row < M && column < N) c[row * N + column] = sum;
}
"""


def product_launches() -> Iterator[Launch]:
    random = np.random.default_rng(4)
    for rows, inner, columns in ((16, 16, 16), (11, 21, 18), (17, 3, 6), (2, 10, 19)):
        a = random.standard_normal((rows, inner)).astype(np.float32)
        b = random.standard_normal((inner, columns)).astype(np.float32)
        sizes = np.int32(rows), np.int32(inner), np.int32(columns)
        yield Launch(
            f"[{rows}, {inner}] @ [{inner}, {columns}]",
            (-(-columns // TILE), -(-rows // TILE)),
            (TILE, TILE),
            lambda a=a, b=b, shape=(rows, columns), sizes=sizes: (
                a.copy(),
                b.copy(),
                np.full(shape, np.nan, np.float32),
                *sizes,
            ),
            2,
            (a.astype(float) @ b).astype(np.float32),
        )


def loaded_once(launch: Launch, seen: Observed) -> str | None:
    """A block loads each number of a and b once, all threads together, and each thread has one element of c."""
    for name, array in (("a", 0), ("b", 1)):
        times = max(Counter((one.block, one.element) for one in seen.of(array, "read")).values(), default=0)
        if times > 1:
            return (
                f"The numbers are right, but a block reads each number of {name} {times} times from global memory.  "
                "Its threads should load each tile together into shared memory, once, and then all read it there."
            )
    tiles = -(-launch.arguments()[0].shape[1] // TILE)
    for name, array in (("a", 0), ("b", 1)):
        most = busiest(seen.of(array, "read"))
        if most > 2 * tiles:
            return (
                f"The numbers are right, but one thread loads {most} numbers of {name}.  A tile has as many numbers as "
                "the block has threads: let each thread load one."
            )
    most = busiest(seen.of(launch.output))
    if most > 1:
        return f"The numbers are right, but one thread computes {most} elements of c: let each thread have its own."
    return None


INNER = "for (int k = 0; k < 8; k++) sum += tile_a[threadIdx.y][k] * tile_b[k][threadIdx.x];"

add(
    KernelExercise(
        "tiled_product",
        9,
        "a product of two matrices, tile by tile",
        PRODUCT,
        product_launches,
        outputs=("c",),
        about=loaded_once,
        observed=1,
        tolerance=1e-5,
        judge=judge_kernel,
        kinds=(
            (
                "block race",
                "Two blocks write the same element of c.  Threads to the right of the last column must write nothing: "
                "c[row * N + column] is then an element of the next row.",
            ),
            (
                "global race",
                "Two threads of a block write the same element of c.  Each thread has its own: row blockIdx.y * 8 + "
                "threadIdx.y, column blockIdx.x * 8 + threadIdx.x.",
            ),
            (
                "race",
                "A barrier is missing.  Each round needs two: one after the tiles are loaded, to wait until they are "
                "whole, and one at the end, because slow threads may still be reading them when the next are loaded.",
            ),
            (
                "out of bounds",
                "The sizes are not multiples of 8: at the edges, tiles and blocks have rows and columns that do not "
                "exist.  Load 0 for numbers beyond K, and write no element beyond M or N.",
            ),
            (
                "uninitialised",
                "A thread reads an element of a tile that no thread has written.  Where a tile reaches beyond a "
                "matrix, its elements must be set to 0.",
            ),
            (
                "divergence",
                "All threads of a block must reach __syncthreads(), including those without an element of c, which "
                "help to load the tiles.",
            ),
        ),
        mistakes=(
            Mistake(
                "Only the first 8 products of each sum are added up: use a loop over the tiles, from 0 to K.",
                PRODUCT.replace("first < K;", "first < 8;"),
            ),
            Mistake(
                "The last tile is left out when K is not a multiple of 8.",
                PRODUCT.replace("first < K;", "first + 8 <= K;"),
            ),
            Mistake(
                "Only the last tile counts: the sum goes on from tile to tile, so it begins at 0 before the loop.",
                PRODUCT.replace(INNER, f"sum = 0;\n        {INNER}"),
            ),
            Mistake(
                "In the sum, k must count the columns of the tile of a, and the rows of the tile of b.",
                PRODUCT.replace("tile_b[k][threadIdx.x]", "tile_b[threadIdx.x][k]"),
            ),
            Mistake(
                "You multiply columns of a's tile by rows of b's: that is the other way round.",
                PRODUCT.replace("tile_a[threadIdx.y][k]", "tile_a[k][threadIdx.y]").replace(
                    "tile_b[k][threadIdx.x]", "tile_b[threadIdx.x][k]"
                ),
            ),
            Mistake(
                "c comes out transposed: its element (row, column) is c[row * N + column].",
                PRODUCT.replace("c[row * N + column]", "c[column * M + row]"),
            ),
            Mistake(
                "You read b as if it were transposed: its element (k, column) is b[k * N + column].",
                PRODUCT.replace("b[k_b * N + column]", "b[column * K + k_b]"),
            ),
            Mistake(
                "Each block multiplies only one tile of a by one of b, those with its own numbers: all tiles of its "
                "rows and of its columns take part.",
                PRODUCT.replace(
                    "int first = 0; first < K; first += 8", "int first = 8 * blockIdx.x, i = 0; i < 1; i++"
                ),
            ),
        ),
        hints=(
            "A block computes 8 x 8 elements of c.  It needs 8 rows of a and 8 columns of b, and both may be long: "
            "take 8 numbers of each row and column at a time.",
            "In each round, every thread loads one number of a and one of b into two arrays in shared memory, or 0 "
            "where there is none; then, after a barrier, it adds 8 products to its sum.",
            "tile_a[threadIdx.y][threadIdx.x] is a[row * K + first + threadIdx.x], and "
            "tile_b[threadIdx.y][threadIdx.x] is b[(first + threadIdx.y) * N + column].  A second barrier ends "
            "the round.",
        ),
        note=(
            "In the package, cuBLAS multiplies matrices; the products of attention in minibert/ops/gpu/attention.cu "
            "load tiles like these."
        ),
    )
)
