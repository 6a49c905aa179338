"""Exercises of lesson 9: CUDA without fear."""

from collections.abc import Iterator

import numpy as np

from minibert.exercises.exercise import Mistake, add
from minibert.exercises.kernels import KernelExercise, Launch, judge_kernel

# -------------------------------------------------------------------------------------------------- scale

SCALE = """__global__ void scale(float* x, int n, float factor) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] *= factor;
}
"""


def scale_launches() -> Iterator[Launch]:
    for what, n, grid, block in (("64 numbers, 2 blocks of 32", 64, 2, 32), ("50 numbers, 2 blocks of 32", 50, 2, 32),
                                 ("5 numbers, 1 block", 5, 1, 32)):  # fmt: skip
        x = np.arange(1, n + 1, dtype=np.float32)
        yield Launch(what, grid, block, lambda x=x, n=n: (x.copy(), np.int32(n), np.float32(3)), 0, x * np.float32(3))


add(
    KernelExercise(
        "scale",
        9,
        "a first kernel: every number times a factor",
        SCALE,
        scale_launches,
        outputs=("x",),
        tolerance=1e-6,
        judge=judge_kernel,
        kinds=(
            (
                "out of bounds",
                "The last block has more threads than there are numbers left: 50 is no multiple of 32.  "
                "Threads without a number must do nothing, and x[n] itself is beyond the end.",
            ),
            (
                "global race",
                "Two threads work on the same number. Which index belongs to this thread? The blocks before it "
                "have blockIdx.x * blockDim.x threads in all.",
            ),
        ),
        mistakes=(
            Mistake(
                "The last number is left out: a thread with i == n - 1 has one too.",
                SCALE.replace("i < n", "i < n - 1"),
            ),
            Mistake(
                "Only the first block works: the number of a thread counts the blocks before it.",
                SCALE.replace("if (i < n)", "if (blockIdx.x == 0 && i < n)"),
            ),
            Mistake("factor is added; multiply.", SCALE.replace("*= factor", "+= factor")),
            Mistake(
                "x is as it was: what is computed must be written back to x[i].",
                SCALE.replace("x[i] *= factor", "(void)(x[i] * factor)"),
            ),
        ),
        hints=(
            "Each thread computes its own number i, and works on x[i] only.",
            "i = blockIdx.x * blockDim.x + threadIdx.x",
            "if (i < n) keeps the surplus threads of the last block out.",
        ),
        note="Any block size, any n: that is how nearly all kernels begin.",
    )
)

# ----------------------------------------------------------------------------------------------- row_sums

ROW_SUMS = """__global__ void row_sums(const float* x, float* sums, int width) {
    __shared__ float scratch[64];
    float sum = 0;
    for (int j = threadIdx.x; j < width; j += blockDim.x) sum += x[blockIdx.x * width + j];
    scratch[threadIdx.x] = sum;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) scratch[threadIdx.x] += scratch[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) sums[blockIdx.x] = scratch[0];
}
"""


def row_launches() -> Iterator[Launch]:
    random = np.random.default_rng(0)
    for what, rows, width, block in (
        ("3 rows of 64, 64 threads", 3, 64, 64),
        ("2 rows of 150, 64 threads", 2, 150, 64),
        ("2 rows of 5, 64 threads", 2, 5, 64),
        ("1 row of 70, 32 threads", 1, 70, 32),
    ):
        x = random.random((rows, width)).astype(np.float32)
        yield Launch(
            what,
            rows,
            block,
            lambda x=x, rows=rows, width=width: (x.copy(), np.zeros(rows, np.float32), np.int32(width)),
            1,
            x.sum(axis=1, dtype=np.float64).astype(np.float32),
        )


add(
    KernelExercise(
        "row_sums",
        9,
        "a block adds up a row: shared memory and barriers",
        ROW_SUMS,
        row_launches,
        outputs=("the sums",),
        tolerance=1e-5,
        judge=judge_kernel,
        kinds=(
            (
                "block race",
                "Two blocks work on one number: a thread reads or writes beyond its own row.  Not all rows are "
                "multiples of the block.",
            ),
            (
                "global race",
                "Several threads of a block write or change one number of global memory: let their sums meet in shared "
                "memory, and one thread write the result to sums[blockIdx.x].",
            ),
            (
                "race",
                "A barrier is missing: a thread reads what another one may not have written yet.  __syncthreads() "
                "between writing to shared memory and reading what others wrote, in every round.",
            ),
            (
                "out of bounds",
                "A thread reads beyond its row, or beyond the scratch array (5 and 150 are no multiples of the block), "
                "or writes beyond sums, which has one number for each block.",
            ),
            (
                "uninitialised",
                "A thread reads a place of shared memory that nobody wrote: threads without numbers must also "
                "store their sum, 0; a block has blockDim.x threads, not always 64; and += reads before it "
                "writes.",
            ),
            (
                "divergence",
                "All threads of a block must reach __syncthreads(): do not put it inside an if that only some "
                "threads take, or in a loop that some threads leave early.",
            ),
        ),
        mistakes=(
            Mistake(
                "Each thread adds one number only; rows may be longer than the block: a loop with stride blockDim.x.",
                ROW_SUMS.replace(
                    "for (int j = threadIdx.x; j < width; j += blockDim.x) sum += x[blockIdx.x * width + j];",
                    "if (threadIdx.x < width) sum += x[blockIdx.x * width + threadIdx.x];",
                ),
            ),
            Mistake(
                "All blocks add up the first row: row b begins at b * width.",
                ROW_SUMS.replace("x[blockIdx.x * width + j]", "x[j]"),
            ),
            Mistake(
                "Half of the sums get lost: the first round must add all upper halves, half = blockDim.x / 2.",
                ROW_SUMS.replace("int half = blockDim.x / 2;", "int half = blockDim.x / 4;"),
            ),
            Mistake(
                "Thread 0 writes its own sum only; what the block added up is in scratch[0].",
                ROW_SUMS.replace("= scratch[0]", "= sum"),
            ),
            Mistake(
                "Numbers get lost where a block has 32 threads: the stride is blockDim.x, not 64.",
                ROW_SUMS.replace("j += blockDim.x", "j += 64"),
            ),
        ),
        hints=(
            "First each thread adds up every blockDim.x-th number of the row, in a register.",
            "Then scratch[threadIdx.x] = sum, a barrier, and rounds: the lower half adds the upper half's numbers to "
            "its own.",
            "A barrier after every round, outside of the if.  At the end thread 0 writes scratch[0].",
        ),
        note="In the package: block_sum in minibert/ops/gpu/sums.cuh, where a warp's 32 threads need no shared memory.",
    )
)

# -------------------------------------------------------------------------------------- layernorm_kernel

LAYERNORM = """__global__ void layernorm(const float* x, float* y, int width, float eps) {
    __shared__ float scratch[32];
    const float* row = x + blockIdx.x * width;
    float sum = 0, squares = 0;
    for (int j = threadIdx.x; j < width; j += 32) sum += row[j];
    scratch[threadIdx.x] = sum;
    __syncthreads();
    float mean = 0;
    for (int k = 0; k < 32; k++) mean += scratch[k] / width;
    __syncthreads();
    for (int j = threadIdx.x; j < width; j += 32) squares += (row[j] - mean) * (row[j] - mean);
    scratch[threadIdx.x] = squares;
    __syncthreads();
    float variance = 0;
    for (int k = 0; k < 32; k++) variance += scratch[k] / width;
    for (int j = threadIdx.x; j < width; j += 32)
        y[blockIdx.x * width + j] = (row[j] - mean) * rsqrtf(variance + eps);
}
"""


def layernorm_launches() -> Iterator[Launch]:
    random = np.random.default_rng(1)
    for what, rows, width, shift in (
        ("2 rows of 64", 2, 64, 0),
        ("3 rows of 45", 3, 45, 0),
        ("2 rows of 7", 2, 7, 0),
        ("a mean of 1,000, which mean(x * x) - mean(x)**2 does not survive", 1, 40, 1000),
    ):
        x = (shift + random.standard_normal((rows, width))).astype(np.float32)
        centred = x.astype(float) - x.astype(float).mean(axis=1, keepdims=True)
        y = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 0.01)
        yield Launch(
            what,
            rows,
            32,
            lambda x=x, width=width: (x.copy(), np.zeros_like(x), np.int32(width), np.float32(0.01)),
            1,
            y.astype(np.float32),
        )


add(
    KernelExercise(
        "layernorm_kernel",
        9,
        "layer norm as a kernel",
        LAYERNORM,
        layernorm_launches,
        outputs=("y",),
        tolerance=2e-4,
        judge=judge_kernel,
        kinds=(
            (
                "block race",
                "Two blocks work on one number: a thread reads or writes beyond its own row.  Not all rows are "
                "multiples of the block.",
            ),
            ("global race", "Two threads of a block write one element of y: each has its own, or every 32nd one."),
            (
                "race",
                "A barrier is missing: between writing a sum into shared memory and reading the others', and between "
                "reading them and writing the next ones into the same places.",
            ),
            ("out of bounds", "A thread reads or writes beyond its row: 45 and 7 are no multiples of 32."),
            ("uninitialised", "A thread reads a place of shared memory that nobody wrote."),
            (
                "divergence",
                "All threads must come to __syncthreads(), and to a shuffle: not inside an if or a loop that "
                "some leave earlier.",
            ),
        ),
        mistakes=(
            Mistake(
                "The mean is not subtracted before squaring.",
                LAYERNORM.replace("squares += (row[j] - mean) * (row[j] - mean)", "squares += row[j] * row[j]"),
            ),
            Mistake(
                "Only the first 32 elements of a row are written; a row may be longer: a loop with stride 32.",
                LAYERNORM.replace(
                    """for (int j = threadIdx.x; j < width; j += 32)
        y[""",
                    """for (int j = threadIdx.x; j < min(width, 32); j += 32)
        y[""",
                ),
            ),
            Mistake("eps is missing: 1 / sqrt(variance + eps).", LAYERNORM.replace("variance + eps", "variance")),
            Mistake(
                "You divide by the variance; divide by its square root instead: multiply by rsqrtf(variance + eps).",
                LAYERNORM.replace("rsqrtf(variance + eps)", "1 / (variance + eps)"),
            ),
            Mistake(
                "The sums are not divided by the width.",
                LAYERNORM.replace("variance += scratch[k] / width", "variance += scratch[k]"),
            ),
            Mistake(
                "You divide the variance by width - 1; a layer norm divides by the width.",
                LAYERNORM.replace("variance += scratch[k] / width", "variance += scratch[k] / (width - 1)"),
            ),
            Mistake(
                "You multiply by the root; divide, or multiply by rsqrtf(variance + eps).",
                LAYERNORM.replace("rsqrtf(variance + eps)", "sqrtf(variance + eps)"),
            ),
            Mistake(
                "You divide by 32, the threads; mean and variance are over the row's width.",
                LAYERNORM.replace("/ width", "/ 32"),
            ),
            Mistake(
                "eps belongs under the square root, with the variance.",
                LAYERNORM.replace("rsqrtf(variance + eps)", "1 / (sqrtf(variance) + eps)"),
            ),
            Mistake(
                "The mean is not subtracted in the result.", LAYERNORM.replace("= (row[j] - mean) *", "= row[j] *")
            ),
        ),
        hints=(
            "Two rounds like row_sums: the mean first, then the mean of the squared distances from it.",
            "With 32 threads each may add up all 32 places of the scratch array itself: no rounds of halving.",
            "Four barriers at most: after each writing, and before scratch is written again.",
        ),
        note="In the package: minibert/ops/gpu/layernorm.cu, a warp for each row, where __shfl_xor_sync replaces the "
        "scratch.",
    )
)
