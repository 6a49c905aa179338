"""Exercises of lesson 9: CUDA without fear."""

from collections.abc import Iterator

import numpy as np

from minibert.exercises.exercise import Mistake, add
from minibert.exercises.kernels import KernelExercise, Launch, Observed, busiest, judge_kernel

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


def one_number_each(launch: Launch, seen: Observed) -> str | None:
    """Each thread has at most one number; there are enough threads."""
    most = busiest(seen.of(launch.output))
    if most <= 1:
        return None
    return (
        f"The numbers are right, but one thread multiplies {most} of them, and others none.  Let each thread work on "
        "its own number: that is why there are so many threads."
    )


add(
    KernelExercise(
        "scale",
        9,
        "a first kernel: multiply every number by a factor",
        SCALE,
        scale_launches,
        outputs=("x",),
        about=one_number_each,
        tolerance=1e-6,
        judge=judge_kernel,
        kinds=(
            (
                "out of bounds",
                "The last block has more threads than there are numbers left: 50 is not a multiple of 32.  Threads "
                "without a number must do nothing, and x[n] is already beyond the end.",
            ),
            (
                "global race",
                "Two threads work on the same number.  Which index belongs to this thread?  The blocks before its "
                "own have blockIdx.x * blockDim.x threads in total.",
            ),
        ),
        mistakes=(
            Mistake(
                "The last number is left out: the thread with i == n - 1 has a number, too.",
                SCALE.replace("i < n", "i < n - 1"),
            ),
            Mistake(
                "Only the first block works on its numbers: the index of a thread must also count the threads of "
                "the blocks before it.",
                SCALE.replace("if (i < n)", "if (blockIdx.x == 0 && i < n)"),
            ),
            Mistake("You add the factor; multiply by it instead.", SCALE.replace("*= factor", "+= factor")),
            Mistake(
                "x is unchanged: you must write the result back to x[i].",
                SCALE.replace("x[i] *= factor", "(void)(x[i] * factor)"),
            ),
        ),
        hints=(
            "Each thread computes its own index i, and works on x[i] only.",
            "The index of a thread is i = blockIdx.x * blockDim.x + threadIdx.x.",
            "The condition if (i < n) keeps the surplus threads of the last block from doing anything.",
        ),
        note="This works for any block size and any n, and nearly all kernels begin this way.",
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
            lambda x=x, rows=rows, width=width: (x.copy(), np.full(rows, np.nan, np.float32), np.int32(width)),
            1,
            x.sum(axis=1, dtype=np.float64).astype(np.float32),
        )


add(
    KernelExercise(
        "row_sums",
        9,
        "a block adds up a row, with shared memory and barriers",
        ROW_SUMS,
        row_launches,
        outputs=("the sums",),
        tolerance=1e-5,
        judge=judge_kernel,
        kinds=(
            (
                "block race",
                "Two blocks work on the same number: a thread reads or writes beyond its own row.  Not every row "
                "length is a multiple of the block size.",
            ),
            (
                "global race",
                "Several threads of a block write or change the same number in global memory.  Add up their sums "
                "in shared memory, and let one thread write the result to sums[blockIdx.x].",
            ),
            (
                "race",
                "A barrier is missing: a thread reads a value that another thread may not have written yet.  In "
                "every round, put __syncthreads() between writing to shared memory and reading what other threads "
                "wrote.",
            ),
            (
                "out of bounds",
                "A thread reads beyond its row or beyond the scratch array (5 and 150 are not multiples of the "
                "block size), or writes beyond sums, which has one number for each block.",
            ),
            (
                "uninitialised",
                "A thread reads an element of shared memory that no thread has written.  Threads without numbers "
                "must also store their sum, 0; a block has blockDim.x threads, which is not always 64; and += "
                "reads an element before it writes it.",
            ),
            (
                "divergence",
                "All threads of a block must reach __syncthreads(): do not put it inside an if that only some "
                "threads enter, or in a loop that some threads leave early.",
            ),
        ),
        mistakes=(
            Mistake(
                "Each thread adds only one number, but a row may be longer than the block: use a loop with stride "
                "blockDim.x.",
                ROW_SUMS.replace(
                    "for (int j = threadIdx.x; j < width; j += blockDim.x) sum += x[blockIdx.x * width + j];",
                    "if (threadIdx.x < width) sum += x[blockIdx.x * width + threadIdx.x];",
                ),
            ),
            Mistake(
                "All blocks add up the first row: row b begins at index b * width.",
                ROW_SUMS.replace("x[blockIdx.x * width + j]", "x[j]"),
            ),
            Mistake(
                "Half of the sums are lost: the first round must add the whole upper half, so begin with half = "
                "blockDim.x / 2.",
                ROW_SUMS.replace("int half = blockDim.x / 2;", "int half = blockDim.x / 4;"),
            ),
            Mistake(
                "Thread 0 writes only its own sum; the sum of the whole block is in scratch[0].",
                ROW_SUMS.replace("= scratch[0]", "= sum"),
            ),
            Mistake(
                "Some numbers are lost when a block has 32 threads: the stride is blockDim.x, not always 64.",
                ROW_SUMS.replace("j += blockDim.x", "j += 64"),
            ),
        ),
        hints=(
            "First, each thread adds up every blockDim.x-th number of the row in a register.  (Shared memory may be "
            "an array of fixed size, or extern __shared__ float scratch[]: each launch has 4,096 bytes for that.)",
            "Then come scratch[threadIdx.x] = sum, a barrier, and several rounds: in each, the threads of the "
            "lower half add the numbers of the upper half to their own.",
            "Put a barrier after every round, outside the if.  At the end, thread 0 writes scratch[0] to sums.",
        ),
        note=(
            "In the package, this is block_sum in minibert/ops/gpu/sums.cuh, where the 32 threads of a warp "
            "need no shared memory."
        ),
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
            lambda x=x, width=width: (x.copy(), np.full_like(x, np.nan), np.int32(width), np.float32(0.01)),
            1,
            y.astype(np.float32),
        )


def shared_work(launch: Launch, seen: Observed) -> str | None:
    """Each thread writes its share of a row, and the block reads a row no more often than it must."""
    rows, width = launch.expected.shape
    most, share = busiest(seen.of(launch.output)), -(-width // launch.threads)
    if most > share:
        return (
            f"The numbers are right, but one thread writes {most} of them.  A row of {width} is the work of "
            f"{launch.threads} threads: {share} numbers each."
        )
    enough = 10 * rows * (width // 8 + 1)  # ten times a whole row, eight numbers at a time; four are needed
    if seen.sectors > enough:
        return (
            f"The numbers are right, but your threads touch {seen.sectors} sectors of 32 bytes; {enough} would be "
            "plenty.  If each thread, or one of them, adds up the whole row, the others do not help: let each thread "
            "add up its own numbers, and share the sums in shared memory."
        )
    return None


add(
    KernelExercise(
        "layernorm_kernel",
        9,
        "layer norm as a kernel",
        LAYERNORM,
        layernorm_launches,
        outputs=("y",),
        about=shared_work,
        tolerance=2e-4,
        judge=judge_kernel,
        kinds=(
            (
                "block race",
                "Two blocks work on the same number: a thread reads or writes beyond its own row.  Not every row "
                "length is a multiple of the block size.",
            ),
            (
                "global race",
                "Two threads of a block write the same element of y: each thread must write its own elements, such "
                "as every 32nd one of the row.",
            ),
            (
                "race",
                "A barrier is missing.  You need one between writing a sum to shared memory and reading the sums "
                "of the other threads, and one between reading those sums and writing the next ones to the same "
                "elements.",
            ),
            ("out of bounds", "A thread reads or writes beyond its row: 45 and 7 are not multiples of 32."),
            ("uninitialised", "A thread reads an element of shared memory that no thread has written."),
            (
                "divergence",
                "All threads of the block must reach __syncthreads() and any shuffle: do not put them inside an if "
                "that only some threads enter, or in a loop that some threads leave early.",
            ),
        ),
        mistakes=(
            Mistake(
                "For the variance, subtract the mean before you square.",
                LAYERNORM.replace("squares += (row[j] - mean) * (row[j] - mean)", "squares += row[j] * row[j]"),
            ),
            Mistake(
                "Only the first 32 elements of a row are written, but a row may be longer: use a loop with stride 32.",
                LAYERNORM.replace(
                    """for (int j = threadIdx.x; j < width; j += 32)
        y[""",
                    """for (int j = threadIdx.x; j < min(width, 32); j += 32)
        y[""",
                ),
            ),
            Mistake(
                "eps is missing: the factor is 1 / sqrt(variance + eps).",
                LAYERNORM.replace("variance + eps", "variance"),
            ),
            Mistake(
                "You divide by the variance; divide by its square root instead, that is, multiply by "
                "rsqrtf(variance + eps).",
                LAYERNORM.replace("rsqrtf(variance + eps)", "1 / (variance + eps)"),
            ),
            Mistake(
                "You do not divide the sums by the width of the row.",
                LAYERNORM.replace("variance += scratch[k] / width", "variance += scratch[k]"),
            ),
            Mistake(
                "You divide the variance by width - 1; a layer norm divides by the width.",
                LAYERNORM.replace("variance += scratch[k] / width", "variance += scratch[k] / (width - 1)"),
            ),
            Mistake(
                "You multiply by the square root; divide by it instead, or multiply by rsqrtf(variance + eps).",
                LAYERNORM.replace("rsqrtf(variance + eps)", "sqrtf(variance + eps)"),
            ),
            Mistake(
                "You divide by 32, the number of threads; for the mean and the variance, divide by the width of "
                "the row.",
                LAYERNORM.replace("/ width", "/ 32"),
            ),
            Mistake(
                "eps belongs under the square root: add it to the variance.",
                LAYERNORM.replace("rsqrtf(variance + eps)", "1 / (sqrtf(variance) + eps)"),
            ),
            Mistake(
                "The mean is not subtracted from the elements in the result.",
                LAYERNORM.replace("= (row[j] - mean) *", "= row[j] *"),
            ),
        ),
        hints=(
            "You need two sums like those in row_sums: first for the mean, then for the mean of the squared "
            "distances from it.",
            "With only 32 threads, each thread can add up all 32 elements of the scratch array itself, without "
            "any rounds of halving.",
            "You need at most four barriers: one after each write to scratch, and one before scratch is written again.",
        ),
        note=(
            "In the package, this is in minibert/ops/gpu/layernorm.cu, where each row has one warp, and "
            "__shfl_xor_sync replaces the scratch array."
        ),
    )
)
