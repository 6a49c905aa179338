"""The cross-entropy loss and the count of correct predictions, computed row by row; the kernels are in losses.cu.

See minibert.ops.reference.losses for the formulas and the meaning of `count`.
"""

import numpy as np

from minibert.base.arrays import Array, Cache, Scalar
from minibert.ops.gpu.kernels import CudaFile, sum_type
from minibert.ops.gpu.layout import THREADS, contiguous, indices
from minibert.ops.gpu.library import cp

LOSSES = CudaFile(
    "losses.cu",
    "cross_entropy_forward_plain<{T}>",
    "cross_entropy_forward<{T}>",
    "cross_entropy_backward<{T}>",
    "correct_rows<{T}>",
    "add_losses<sum_t<{T}>>",
    headers=("grid_stride.cuh", "sums.cuh", "logsum.cuh"),
)
SHORT = 1024  # rows up to this length are processed by one warp


def cross_entropy_forward(logits: Array, labels: Array, count: int) -> tuple[Scalar, Cache]:
    """The cross-entropy loss, sum(log_sum - logits[label]) / count; logits [M, V], labels integers [M].

    For 16-bit logits, the loss is float32.
    """
    (logits,), labels = contiguous(logits), indices(labels)
    rows, size = logits.shape
    losses, log_sums = (cp.empty(rows, sum_type(logits.dtype)) for _ in range(2))  # [M]
    arrays = logits, labels, losses, log_sums
    LOSSES.launch("cross_entropy_forward<{T}>", logits.dtype, rows, threads_for(size), *arrays, np.int32(size))
    return total(losses, 1 / count, logits.dtype), (logits, labels, log_sums, count)


def cross_entropy_backward(d_loss: Scalar, cache: Cache) -> Array:
    """The backward pass of cross_entropy_forward: d_loss, a number or 0-d array -> d_logits [M, V]."""
    logits, labels, log_sums, count = cache
    rows, size = logits.shape
    d_logits = cp.empty(logits.shape, logits.dtype)  # [M, V]
    arrays = logits, labels, log_sums, d_logits
    numbers = np.int32(size), *scales(d_loss, 1 / count, logits.dtype)
    LOSSES.launch("cross_entropy_backward<{T}>", logits.dtype, rows, threads_for(size), *arrays, *numbers)
    return d_logits


def count_correct(logits: Array, labels: Array) -> Array:
    """The number of rows of logits [M, V] whose highest logit is that of their label, a 0-d integer.

    If logits tie, the first counts as the highest, as in `argmax`.
    """
    (logits,), labels = contiguous(logits), indices(labels)
    rows, size = logits.shape
    correct = cp.empty(rows, np.int32)  # [M]
    LOSSES.launch("correct_rows<{T}>", logits.dtype, rows, threads_for(size), logits, labels, correct, np.int32(size))
    return correct.sum()


def total(losses: Array, share: float, dtype: np.dtype) -> Array:
    """The sum of losses [M] times `share`, as a 0-d array; the losses are always added up in the same order.

    dtype: the dtype of the tensors from which the losses were computed.
    """
    loss = cp.empty((), losses.dtype)
    sizes = np.int32(len(losses)), losses.dtype.type(share)
    LOSSES.launch("add_losses<sum_t<{T}>>", dtype, 1, THREADS, losses, loss, *sizes)
    return loss


def on_device(d_loss: Scalar, dtype: np.dtype) -> Array:
    """Convert d_loss, a number or 0-d array, to a 0-d array, which kernels read without making the host wait."""
    number = sum_type(dtype)
    if isinstance(d_loss, cp.ndarray):
        return d_loss if d_loss.dtype == number else d_loss.astype(number)
    return cp.full((), float(d_loss), number)


def scales(d_loss: Scalar, share: float, dtype: np.dtype) -> tuple[Array, float]:
    """The two factors of a loss's gradient in the form that kernels take: d_loss on the device, and share."""
    return on_device(d_loss, dtype), sum_type(dtype)(share)


def threads_for(size: int) -> int:
    """The number of threads that process a row of the given size."""
    return 32 if size <= SHORT else THREADS
