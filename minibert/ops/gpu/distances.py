"""The losses that compare two arrays: squared error, KL divergence and cosine; the kernels are in distances.cu.

See minibert.ops.reference.losses for the formulas.
"""

import numpy as np

from minibert.base.arrays import Array, Cache, Scalar
from minibert.ops.gpu.kernels import CudaFile, blocks_for, sum_type
from minibert.ops.gpu.layout import THREADS, contiguous, grid_stride_blocks
from minibert.ops.gpu.library import cp
from minibert.ops.gpu.losses import scales, threads_for, total

DISTANCES = CudaFile(
    "distances.cu",
    "squared_errors<{T}>",
    "mse_backward<{T}>",
    "kl_divergence_forward<{T}>",
    "kl_divergence_backward<{T}>",
    "cosine_forward<{T}>",
    "cosine_backward<{T}>",
    headers=("grid_stride.cuh", "sums.cuh", "logsum.cuh"),
)
WARPS = 4  # warps per block in the cosine kernels, in which each warp processes one row


def mse_forward(prediction: Array, target: Array, count: int) -> tuple[Scalar, Cache]:
    """The mean squared error, sum((prediction - target)**2) / count."""
    prediction, target = contiguous(prediction, target)
    blocks = grid_stride_blocks(prediction.size, prediction.dtype)
    partial = cp.empty(blocks, sum_type(prediction.dtype))  # [blocks]
    arrays = prediction, target, partial
    DISTANCES.launch("squared_errors<{T}>", prediction.dtype, blocks, THREADS, *arrays, np.int64(prediction.size))
    return total(partial, 1 / count, prediction.dtype), (prediction, target, count)


def mse_backward(d_loss: Scalar, cache: Cache) -> Array:
    """The backward pass of mse_forward: d_loss, a number or 0-d array -> d_prediction [...]."""
    prediction, target, count = cache
    d_prediction = cp.empty(prediction.shape, prediction.dtype)  # [...]
    blocks = grid_stride_blocks(prediction.size, prediction.dtype)
    numbers = np.int64(prediction.size), *scales(d_loss, 1 / count, prediction.dtype)
    arrays = prediction, target, d_prediction
    DISTANCES.launch("mse_backward<{T}>", prediction.dtype, blocks, THREADS, *arrays, *numbers)
    return d_prediction


def kl_divergence_forward(
    student_logits: Array, teacher_logits: Array, temperature: float, count: int
) -> tuple[Scalar, Cache]:
    """The distillation loss, KL(teacher || student) * temperature**2 / count, with both distributions softened.

    student_logits, teacher_logits [M, V].
    """
    student, teacher = contiguous(student_logits, teacher_logits)
    (rows, size), number = student.shape, sum_type(student.dtype)
    losses, *log_sums = (cp.empty(rows, number) for _ in range(3))  # [M]
    arrays = student, teacher, losses, *log_sums
    numbers = np.int32(size), number(1 / temperature)
    DISTANCES.launch("kl_divergence_forward<{T}>", student.dtype, rows, threads_for(size), *arrays, *numbers)
    loss = total(losses, temperature**2 / count, student.dtype)
    return loss, (student, teacher, *log_sums, temperature, count)


def kl_divergence_backward(d_loss: Scalar, cache: Cache) -> Array:
    """The backward pass of kl_divergence_forward: d_loss, a number or 0-d array -> d_student_logits [M, V]."""
    student, teacher, student_log_sums, teacher_log_sums, temperature, count = cache
    (rows, size), number = student.shape, sum_type(student.dtype)
    d_student = cp.empty(student.shape, student.dtype)  # [M, V]
    arrays = student, teacher, student_log_sums, teacher_log_sums, d_student
    numbers = np.int32(size), number(1 / temperature), *scales(d_loss, temperature / count, student.dtype)
    DISTANCES.launch("kl_divergence_backward<{T}>", student.dtype, rows, threads_for(size), *arrays, *numbers)
    return d_student


def cosine_forward(x: Array, target: Array, count: int) -> tuple[Scalar, Cache]:
    """The cosine loss: one minus the cosine of each pair of rows, summed and divided by count; x, target [M, H]."""
    x, target = contiguous(x, target)
    rows, width = x.shape
    losses, *of_rows = (cp.empty(rows, sum_type(x.dtype)) for _ in range(4))  # [M]
    sizes = np.int64(rows), np.int32(width)
    blocks, threads = blocks_for(rows, WARPS), 32 * WARPS
    DISTANCES.launch("cosine_forward<{T}>", x.dtype, blocks, threads, x, target, losses, *of_rows, *sizes)
    return total(losses, 1 / count, x.dtype), (x, target, *of_rows, count)


def cosine_backward(d_loss: Scalar, cache: Cache) -> Array:
    """The backward pass of cosine_forward: d_loss, a number or 0-d array -> d_x [M, H]."""
    x, target, *of_rows, count = cache
    rows, width = x.shape
    d_x = cp.empty(x.shape, x.dtype)  # [M, H]
    numbers = np.int64(rows), np.int32(width), *scales(d_loss, 1 / count, x.dtype)
    blocks, threads = blocks_for(rows, WARPS), 32 * WARPS
    DISTANCES.launch("cosine_backward<{T}>", x.dtype, blocks, threads, x, target, *of_rows, d_x, *numbers)
    return d_x
